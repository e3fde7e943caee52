// The whitened form for covariances with correlations: |L^-1 (z - mu)|^2, and sums of r (z - mu) (z - mu)^T.
//
// It needs as many products as the expanded form, and does not cancel. One class serves the full family, and the tied
// one where a component is far narrower than its distance from the origin.
#pragma once

#include "mixture.h"

namespace workbench::WORKBENCH_SET {

// SMALL is D where the loops over coordinates are written out, and otherwise 0.
template <class T, int SMALL>
class Triangular {
public:
    static constexpr Index L = LANES<T>;
    static constexpr Index TILE = 4;
    static constexpr Index PART = 16;  // vectors of rows whose deviations stay in the first-level cache

    void prepare(const Given<T>& given, bool is_shared) {
        k_ = given.k, d_ = given.d, is_shared_ = is_shared;
        tiles_ = (d_ + TILE - 1) / TILE;
        given.working_means(means_);
        constant_.fit(k_);
        const Index matrices = is_shared ? 1 : k_, size = packed_size();
        roots_.zeros(matrices * size);
        log_determinants_.fit(matrices);
        for (Index c = 0; c < matrices; ++c) {
            log_determinants_[c] = whitening(given.scales + c * d_ * d_, given.matrix, d_, solved_);
            for (Index i = 0; i < d_; ++i)
                for (Index j = 0; j <= i; ++j) roots_[c * size + packed(i, j)] = T(solved_[i * d_ + j]);
        }
        for (Index c = 0; c < k_; ++c)
            constant_[c] =
                T(std::log(double(given.weights[c])) - log_determinants_[is_shared ? 0 : c] - d_ * HALF_LOG_2PI);
        accumulators_.clear(k_ * per_component());
        // Rows beyond D of the last tiles stay zero.
        deviation_.zeros(tiles_ * TILE * PART * L), weighted_.zeros(tiles_ * TILE * PART * L);
    }

    void log_joint(const Chunk<T>& chunk, Shares<T>& shares) {
        for (Index c = 0; c < k_; ++c) {
            const T* root = roots_.data() + (is_shared_ ? 0 : c * packed_size());
            if constexpr (SMALL > 0) {
                small_distances(chunk, means_.data() + c * d_, root, constant_[c], shares.of(c));
            } else {
                for (Index first = 0; first < chunk.vectors; first += PART) {
                    const Index vectors = least(PART, chunk.vectors - first);
                    deviations(chunk, first, vectors, means_.data() + c * d_);
                    distances(vectors, root, constant_[c], shares.of(c) + first * L);
                }
            }
        }
    }

    void add(const Chunk<T>& chunk, const Shares<T>& shares) {
        for (Index c = 0; c < k_; ++c) {
            const Index at = c * per_component();
            if constexpr (SMALL > 0 && SMALL <= 4) {
                small_moments(chunk, means_.data() + c * d_, shares.of(c), at);
            } else {
                for (Index first = 0; first < chunk.vectors; first += PART)
                    moments(chunk, first, least(PART, chunk.vectors - first), means_.data() + c * d_, shares.of(c), at);
            }
        }
    }

    // Second moments are those of each component, [K, D, D]; their sum, [D, D], for the tied family.
    void sums(Sums& sums) const {
        sums.counts.fit(k_), sums.first.fit(k_ * d_), sums.second.zeros((is_shared_ ? 1 : k_) * d_ * d_);
        for (Index c = 0; c < k_; ++c) {
            const Index at = c * per_component();
            double* second = sums.second.data() + (is_shared_ ? 0 : c * d_ * d_);
            sums.counts[c] = accumulators_.total(at);
            for (Index i = 0; i < d_; ++i) {
                sums.first[c * d_ + i] = accumulators_.total(at + 1 + i);
                for (Index j = 0; j <= i; ++j) second[i * d_ + j] += accumulators_.total(at + place(i, j));
            }
        }
        for (Index c = 0; c < (is_shared_ ? 1 : k_); ++c)
            for (Index i = 0; i < d_; ++i)
                for (Index j = 0; j < i; ++j)
                    sums.second[(c * d_ + j) * d_ + i] = sums.second[(c * d_ + i) * d_ + j];
    }

private:
    // Numbers of a whitening matrix: its lower triangle by rows, or by columns of tiles.
    Index packed_size() const { return SMALL > 0 ? d_ * (d_ + 1) / 2 : tiles_ * (tiles_ + 1) / 2 * TILE * TILE; }
    Index packed(Index i, Index j) const {
        if (SMALL > 0) return i * (i + 1) / 2 + j;
        const Index tile = i / TILE;
        return tile * (tile + 1) / 2 * TILE * TILE + j * TILE + i % TILE;
    }

    // Places of sums: the count, first moments, and second moments by tiles.
    Index per_component() const { return 1 + tiles_ * TILE + tiles_ * (tiles_ + 1) / 2 * TILE * TILE; }
    Index tile_place(Index i, Index j) const { return 1 + (tiles_ + i * (i + 1) / 2 * TILE + j * TILE) * TILE; }
    Index place(Index i, Index j) const { return tile_place(i / TILE, j / TILE) + i % TILE * TILE + j % TILE; }

    void small_distances(const Chunk<T>& chunk, const T* mean, const T* root, T constant, T* out) const {
        for (Index v = 0; v < chunk.vectors; ++v) {
            V<T> deviation[SMALL + 1];
            V<T> distance{};
#pragma GCC unroll 8
            for (int i = 0; i < SMALL; ++i) {
                deviation[i] = load(chunk.z + i * chunk.stride + v * L) - mean[i];
                V<T> white = root[i * (i + 1) / 2] * deviation[0];
#pragma GCC unroll 8
                for (int j = 1; j <= i; ++j) white += root[i * (i + 1) / 2 + j] * deviation[j];
                distance += white * white;
            }
            store(out + v * L, constant - T(0.5) * distance);
        }
    }

    void small_moments(const Chunk<T>& chunk, const T* mean, const T* share, Index at) {
        constexpr int SECOND = SMALL * (SMALL + 1) / 2;
        V<T> count{}, first[SMALL + 1]{}, second[SECOND + 1]{};
        for (Index v = 0; v < chunk.vectors; ++v) {
            const V<T> r = load(share + v * L);
            V<T> deviation[SMALL + 1];
            count += r;
#pragma GCC unroll 4
            for (int i = 0; i < SMALL; ++i) {
                deviation[i] = load(chunk.z + i * chunk.stride + v * L) - mean[i];
                const V<T> weighted = r * deviation[i];
                first[i] += weighted;
#pragma GCC unroll 4
                for (int j = 0; j <= i; ++j) second[i * (i + 1) / 2 + j] += weighted * deviation[j];
            }
        }
        accumulators_.add(at, count);
        for (int i = 0; i < SMALL; ++i) {
            accumulators_.add(at + 1 + i, first[i]);
            for (int j = 0; j <= i; ++j) accumulators_.add(at + place(i, j), second[i * (i + 1) / 2 + j]);
        }
    }

    // Deviations of some rows from a mean, padded with zeros to full tiles.
    void deviations(const Chunk<T>& chunk, Index first, Index vectors, const T* mean) {
        for (Index i = 0; i < d_; ++i) {
            const T* z = chunk.z + i * chunk.stride + first * L;
            T* to = deviation_.data() + i * PART * L;
            for (Index v = 0; v < vectors; ++v) store(to + v * L, load(z + v * L) - mean[i]);
            for (Index v = vectors; v % ACROSS != 0; ++v) store(to + v * L, V<T>{});
        }
    }

    void distances(Index vectors, const T* root, T constant, T* out) const {
        for (Index v = 0; v < vectors; v += ACROSS) {
            V<T> distance[ACROSS]{};
            const T* packed = root;
            for (Index tile = 0; tile < tiles_; ++tile) {
                V<T> white[TILE][ACROSS]{};
                const T* from = deviation_.data() + v * L;
                for (Index j = 0; j < tile * TILE; ++j, packed += TILE, from += PART * L)
#pragma GCC unroll 4
                    for (int a = 0; a < TILE; ++a)
#pragma GCC unroll 4
                        for (int b = 0; b < ACROSS; ++b) white[a][b] += packed[a] * load(from + b * L);
#pragma GCC unroll 4
                for (int j = 0; j < TILE; ++j, packed += TILE, from += PART * L)
#pragma GCC unroll 4
                    for (int a = j; a < TILE; ++a)
#pragma GCC unroll 4
                        for (int b = 0; b < ACROSS; ++b) white[a][b] += packed[a] * load(from + b * L);
#pragma GCC unroll 4
                for (int a = 0; a < TILE; ++a)
#pragma GCC unroll 4
                    for (int b = 0; b < ACROSS; ++b) distance[b] += white[a][b] * white[a][b];
            }
            for (int b = 0; b < ACROSS; ++b) store(out + (v + b) * L, constant - T(0.5) * distance[b]);
        }
    }

    void moments(const Chunk<T>& chunk, Index first, Index vectors, const T* mean, const T* share, Index at) {
        deviations(chunk, first, vectors, mean);
        V<T> count{};
        for (Index v = 0; v < vectors; ++v) count += load(share + (first + v) * L);
        accumulators_.add(at, count);
        for (Index i = 0; i < d_; ++i) {
            V<T> sum{};
            for (Index v = 0; v < vectors; ++v) {
                const V<T> weighted = load(share + (first + v) * L) * load(deviation_.data() + (i * PART + v) * L);
                store(weighted_.data() + (i * PART + v) * L, weighted);
                sum += weighted;
            }
            accumulators_.add(at + 1 + i, sum);
        }
        for (Index i = 0; i < tiles_; ++i) {
            for (Index j = 0; j < i; ++j) tile_products<false>(i, j, vectors, at);
            tile_products<true>(i, i, vectors, at);
        }
    }

    template <bool DIAGONAL>
    void tile_products(Index i, Index j, Index vectors, Index at) {
        V<T> sum[TILE][TILE]{};
        const T *a = weighted_.data() + i * TILE * PART * L, *b = deviation_.data() + j * TILE * PART * L;
        for (Index v = 0; v < vectors; ++v, a += L, b += L) {
            V<T> right[TILE];
#pragma GCC unroll 4
            for (int q = 0; q < TILE; ++q) right[q] = load(b + q * PART * L);
#pragma GCC unroll 4
            for (int p = 0; p < TILE; ++p) {
                const V<T> left = load(a + p * PART * L);
#pragma GCC unroll 4
                for (int q = 0; q < (DIAGONAL ? p + 1 : TILE); ++q) sum[p][q] += left * right[q];
            }
        }
        const Index to = at + tile_place(i, j);
        for (int p = 0; p < TILE; ++p)
            for (int q = 0; q < (DIAGONAL ? p + 1 : TILE); ++q) accumulators_.add(to + p * TILE + q, sum[p][q]);
    }

    Index k_ = 0, d_ = 0, tiles_ = 0;
    bool is_shared_ = false;
    Array<T> means_, roots_, constant_, deviation_, weighted_;
    Array<double> solved_, log_determinants_;
    Accumulators<T> accumulators_;
};

}  // namespace workbench::WORKBENCH_SET
