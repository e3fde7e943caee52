// The whitened form for covariances without correlations: sum_i ((z_i - mu_i) / sigma_i)^2.
//
// It serves the diagonal and the spherical family where a component is far narrower than its distance from the origin.
#pragma once

#include "mixture.h"

namespace workbench::WORKBENCH_SET {

template <class T>
class Diagonal {
public:
    static constexpr Index L = LANES<T>;

    // `constant` [K], means and reciprocal deviations in working units [K, D]; the caller keeps them.
    void prepare(Index k, Index d, const T* constant, const T* means, const T* whitener) {
        k_ = k, d_ = d, constant_ = constant, means_ = means, whitener_ = whitener;
        accumulators_.clear(k_ * (1 + 2 * d_));
    }

    void log_joint(const Chunk<T>& chunk, Shares<T>& shares) {
        for (Index c = 0; c < k_; ++c)
            for (Index v = 0; v < chunk.vectors; ++v) {
                V<T> distance{};
                for (Index i = 0; i < d_; ++i) {
                    const V<T> white = (row(chunk, i, v) - means_[c * d_ + i]) * whitener_[c * d_ + i];
                    distance += white * white;
                }
                store(shares.of(c) + v * L, constant_[c] - T(0.5) * distance);
            }
    }

    void add(const Chunk<T>& chunk, const Shares<T>& shares) {
        for (Index c = 0; c < k_; ++c) {
            const Index at = c * (1 + 2 * d_);
            V<T> count{};
            for (Index v = 0; v < chunk.vectors; ++v) count += load(shares.of(c) + v * L);
            accumulators_.add(at, count);
            for (Index i = 0; i < d_; ++i) {
                V<T> first{}, second{};
                for (Index v = 0; v < chunk.vectors; ++v) {
                    const V<T> deviation = row(chunk, i, v) - means_[c * d_ + i];
                    const V<T> weighted = load(shares.of(c) + v * L) * deviation;
                    first += weighted, second += weighted * deviation;
                }
                accumulators_.add(at + 1 + i, first), accumulators_.add(at + 1 + d_ + i, second);
            }
        }
    }

    // Second moments of each coordinate, [K, D].
    void sums(Sums& sums) const {
        sums.counts.fit(k_), sums.first.fit(k_ * d_), sums.second.fit(k_ * d_);
        for (Index c = 0; c < k_; ++c) {
            const Index at = c * (1 + 2 * d_);
            sums.counts[c] = accumulators_.total(at);
            for (Index i = 0; i < d_; ++i) {
                sums.first[c * d_ + i] = accumulators_.total(at + 1 + i);
                sums.second[c * d_ + i] = accumulators_.total(at + 1 + d_ + i);
            }
        }
    }

private:
    static V<T> row(const Chunk<T>& chunk, Index i, Index v) { return load(chunk.z + i * chunk.stride + v * L); }

    Index k_ = 0, d_ = 0;
    const T *constant_ = nullptr, *means_ = nullptr, *whitener_ = nullptr;
    Accumulators<T> accumulators_;
};

}  // namespace workbench::WORKBENCH_SET
