// The whitened form for covariances with correlations: |L^-1 (z - mu)|^2, and sums of r (z - mu) (z - mu)^T.
//
// It needs as many products as the expanded form, and cancels less. From some D on it computes L^-1 z - L^-1 mu and
// sums of r (z - mu) z^T instead, which lose digits only in proportion to the distance from the origin, not to its
// square. One class serves the full family, and the tied one where a component is far narrower than its distance from
// the origin.
#pragma once

#include "mixture.h"

namespace workbench::WORKBENCH_SET {

// SMALL is D where the loops over coordinates are written out, and otherwise 0.
template <class T, int SMALL>
class Triangular {
public:
    static constexpr Index L = LANES<T>;
    static constexpr Index TILE = 4;
    static constexpr Index PART = 8;  // vectors of rows that stay in the first-level cache
    // Where all sums of a component are held in registers.
    static constexpr bool IN_REGISTERS = SMALL > 0 && SMALL <= 4;

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
        weighted_.zeros(tiles_ * TILE * PART * L);
        rows_.fit(tiles_ * TILE);
        offsets_.zeros(k_ * tiles_ * TILE);
        if constexpr (SMALL == 0)
            for (Index c = 0; c < k_; ++c)
                for (Index i = 0; i < d_; ++i) {
                    double sum = 0;
                    const T* root = roots_.data() + (is_shared ? 0 : c * size);
                    for (Index j = 0; j <= i; ++j) sum += double(root[packed(i, j)]) * means_[c * d_ + j];
                    offsets_[c * tiles_ * TILE + i] = T(sum);
                }
    }

    void log_joint(const Chunk<T>& chunk, Shares<T>& shares) {
        if constexpr (SMALL > 0) {
            for (Index c = 0; c < k_; ++c)
                small_distances(chunk, means_.data() + c * d_, root_of(c), constant_[c], shares.of(c));
        } else {
            point_at(chunk);
            const Index full = chunk.vectors / ACROSS * ACROSS;
            for (Index first = 0; first < full; first += PART)
                for (Index c = 0; c < k_; ++c)
                    for (Index v = first; v < least(first + PART, full); v += ACROSS)
                        distances<ACROSS>(c, v, shares.of(c));
            for (Index c = 0; c < k_; ++c)
                for (Index v = full; v < chunk.vectors; ++v) distances<1>(c, v, shares.of(c));
        }
    }

    void add(const Chunk<T>& chunk, const Shares<T>& shares) {
        if constexpr (!IN_REGISTERS) point_at(chunk);
        for (Index c = 0; c < k_; ++c) {
            const Index at = c * per_component();
            if constexpr (IN_REGISTERS)
                small_moments(chunk, means_.data() + c * d_, shares.of(c), at);
            else
                for (Index first = 0; first < chunk.vectors; first += PART)
                    moments(first, least(PART, chunk.vectors - first), means_.data() + c * d_, shares.of(c), at);
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
                const double first = sums.first[c * d_ + i] = accumulators_.total(at + 1 + i);
                for (Index j = 0; j <= i; ++j) {
                    second[i * d_ + j] += accumulators_.total(at + place(i, j));
                    if (!IN_REGISTERS) second[i * d_ + j] -= first * means_[c * d_ + j];
                }
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

    const T* root_of(Index c) const { return roots_.data() + (is_shared_ ? 0 : c * packed_size()); }

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

    // Where each coordinate of the chunk begins; those beyond D, of the last tile, are zero.
    void point_at(const Chunk<T>& chunk) {
        const T* zeros = none_.zeros(chunk.vectors * L);
        for (Index i = 0; i < tiles_ * TILE; ++i) rows_[i] = i < d_ ? chunk.z + i * chunk.stride : zeros;
    }

    template <int WIDTH>
    void distances(Index c, Index v, T* out) const {
        V<T> distance[WIDTH]{};
        const T *packed = root_of(c), *offset = offsets_.data() + c * tiles_ * TILE;
        for (Index tile = 0; tile < tiles_; ++tile) {
            V<T> white[TILE][WIDTH];
#pragma GCC unroll 4
            for (int a = 0; a < TILE; ++a)
#pragma GCC unroll 4
                for (int b = 0; b < WIDTH; ++b) white[a][b] = all(-offset[tile * TILE + a]);
            const T* const* row = rows_.data();
            for (Index j = 0; j < tile * TILE; ++j, packed += TILE, ++row)
#pragma GCC unroll 4
                for (int b = 0; b < WIDTH; ++b) {
                    const V<T> z = load(*row + (v + b) * L);
#pragma GCC unroll 4
                    for (int a = 0; a < TILE; ++a) white[a][b] += packed[a] * z;
                }
#pragma GCC unroll 4
            for (int j = 0; j < TILE; ++j, packed += TILE, ++row)
#pragma GCC unroll 4
                for (int b = 0; b < WIDTH; ++b) {
                    const V<T> z = load(*row + (v + b) * L);
#pragma GCC unroll 4
                    for (int a = j; a < TILE; ++a) white[a][b] += packed[a] * z;
                }
#pragma GCC unroll 4
            for (int a = 0; a < TILE; ++a)
#pragma GCC unroll 4
                for (int b = 0; b < WIDTH; ++b) distance[b] += white[a][b] * white[a][b];
        }
        for (int b = 0; b < WIDTH; ++b) store(out + (v + b) * L, constant_[c] - T(0.5) * distance[b]);
    }

    void moments(Index first, Index vectors, const T* mean, const T* share, Index at) {
        V<T> count{};
        for (Index v = 0; v < vectors; ++v) count += load(share + (first + v) * L);
        accumulators_.add(at, count);
        for (Index i = 0; i < d_; ++i) {
            V<T> sum{};
            for (Index v = 0; v < vectors; ++v) {
                const V<T> weighted = load(share + (first + v) * L) * (load(rows_[i] + (first + v) * L) - mean[i]);
                store(weighted_.data() + (i * PART + v) * L, weighted);
                sum += weighted;
            }
            accumulators_.add(at + 1 + i, sum);
        }
        for (Index i = 0; i < tiles_; ++i) {
            for (Index j = 0; j < i; ++j) tile_products<false>(i, j, first, vectors, at);
            tile_products<true>(i, i, first, vectors, at);
        }
    }

    template <bool DIAGONAL>
    void tile_products(Index i, Index j, Index first, Index vectors, Index at) {
        V<T> sum[TILE][TILE]{};
        const T* left = weighted_.data() + i * TILE * PART * L;
        const T* right[TILE];
        for (int q = 0; q < TILE; ++q) right[q] = rows_[j * TILE + q] + first * L;
        for (Index v = 0; v < vectors * L; v += L) {
            V<T> z[TILE];
#pragma GCC unroll 4
            for (int q = 0; q < TILE; ++q) z[q] = load(right[q] + v);
#pragma GCC unroll 4
            for (int p = 0; p < TILE; ++p) {
                const V<T> weighted = load(left + p * PART * L + v);
#pragma GCC unroll 4
                for (int q = 0; q < (DIAGONAL ? p + 1 : TILE); ++q) sum[p][q] += weighted * z[q];
            }
        }
        const Index to = at + tile_place(i, j);
#pragma GCC unroll 4
        for (int p = 0; p < TILE; ++p)
#pragma GCC unroll 4
            for (int q = 0; q < (DIAGONAL ? p + 1 : TILE); ++q) accumulators_.add(to + p * TILE + q, sum[p][q]);
    }

    Index k_ = 0, d_ = 0, tiles_ = 0;
    bool is_shared_ = false;
    Array<T> means_, roots_, constant_, offsets_, weighted_, none_;
    Array<const T*> rows_;
    Array<double> solved_, log_determinants_;
    Accumulators<T> accumulators_;
};

}  // namespace workbench::WORKBENCH_SET
