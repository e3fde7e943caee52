// The covariance families: which form of the pass each takes, and its statistics in the data's units.
#pragma once

#include "diagonal.h"
#include "expanded.h"
#include "triangular.h"

namespace workbench::WORKBENCH_SET {

// Squared distance from the origin, in a component's own standard deviations, from which the expanded form cancels too
// much; in float32 it always does. As `FAR` in `engine/one_pass.py`.
inline constexpr double FAR = 1e4;

template <class T>
inline constexpr bool ALWAYS_WHITENED = sizeof(T) < 8;

// What a call returns for one mixture, in the data's units.
template <class T>
struct Taken {
    T *counts, *first, *second;  // [K], [K, D], the family's shape
};

// Features of a chunk's rows, which all mixtures of a batch share.
template <class T>
struct Features {
    Array<const T*> at;
    Array<T> numbers;
};

// A family has the functions
//     prepare(given)                     a mixture, before the first chunk
//     features(chunk, features)          what all mixtures of a batch share
//     log_joint(chunk, features, shares)
//     add(chunk, features, shares)       sums over the rows, of responsibilities
//     common()                           the part of the log-likelihood that all components have in common
//     statistics(given, taken)           after the last chunk

// Counts and first moments in the data's units.
template <class T>
void first_moments(const Given<T>& given, const Sums& sums, const Taken<T>& taken) {
    for (Index c = 0; c < given.k; ++c) {
        taken.counts[c] = T(sums.counts[c]);
        for (Index i = 0; i < given.d; ++i) {
            double sum = 0;
            for (Index j = 0; j <= i; ++j) sum += given.matrix[i * given.d + j] * sums.first[c * given.d + j];
            taken.first[c * given.d + i] = T(sum);
        }
    }
}

// matrix S matrix^T for `number` symmetric matrices S.
template <class T>
void second_moments(const Given<T>& given, const double* s, Index number, T* taken) {
    const Index d = given.d;
    Array<double> half;
    half.fit(d * d);
    for (Index c = 0; c < number; ++c, s += d * d, taken += d * d)
        for (Index i = 0; i < d; ++i) {
            double* row = half.data() + i * d;
            for (Index j = 0; j < d; ++j) row[j] = 0;
            for (Index m = 0; m <= i; ++m) {
                const double factor = given.matrix[i * d + m];
                for (Index j = 0; j < d; ++j) row[j] += factor * s[m * d + j];
            }
            for (Index j = 0; j <= i; ++j) {
                double sum = 0;
                for (Index m = 0; m <= j; ++m) sum += row[m] * given.matrix[j * d + m];
                taken[i * d + j] = taken[j * d + i] = T(sum);
            }
        }
}

template <class T, int SMALL>
class Full {
public:
    void prepare(const Given<T>& given) { form_.prepare(given, false); }
    void features(const Chunk<T>&, Features<T>&) const {}
    double common() const { return 0; }
    void log_joint(const Chunk<T>& chunk, const Features<T>&, Shares<T>& shares) { form_.log_joint(chunk, shares); }
    void add(const Chunk<T>& chunk, const Features<T>&, const Shares<T>& shares) { form_.add(chunk, shares); }
    void statistics(const Given<T>& given, const Taken<T>& taken) const {
        Sums sums;
        form_.sums(sums);
        first_moments(given, sums, taken);
        second_moments(given, sums.second.data(), given.k, taken.second);
    }

private:
    Triangular<T, SMALL> form_;
};

// The expanded form, or a whitened one where a component is narrow.
template <class T, class Whitened>
class EitherForm {
public:
    void log_joint(const Chunk<T>& chunk, const Features<T>& features, Shares<T>& shares) {
        if (is_narrow_) return whitened_.log_joint(chunk, shares);
        expanded_.log_joint(features.at.data(), chunk.vectors, shares);
    }
    void add(const Chunk<T>& chunk, const Features<T>& features, const Shares<T>& shares) {
        if (is_narrow_) return whitened_.add(chunk, shares);
        expanded_.add(features.at.data(), chunk.vectors, shares);
    }

protected:
    bool is_narrow_ = false;
    Expanded<T> expanded_;
    Whitened whitened_;
};

// The quadratic term is common to all components, so that only its total over the rows is needed, which never changes.
template <class T>
class Tied : public EitherForm<T, Triangular<T, 0>> {
public:
    void prepare(const Given<T>& given) {
        const Index k = given.k, d = d_ = given.d;
        given.working_means(means_);
        Array<double> root, white;
        const double log_determinant = whitening(given.scales, given.matrix, d, root);
        constant_.fit(k), linear_.fit(k * d), white.fit(d);
        is_narrow_ = ALWAYS_WHITENED<T>;
        for (Index c = 0; c < k; ++c) {
            double distance = 0;
            for (Index i = 0; i < d; ++i) {
                white[i] = 0;
                for (Index j = 0; j <= i; ++j) white[i] += root[i * d + j] * means_[c * d + j];
                distance += white[i] * white[i];
            }
            is_narrow_ = is_narrow_ || distance > FAR;
            constant_[c] = T(std::log(double(given.weights[c])) - log_determinant - d * HALF_LOG_2PI - 0.5 * distance);
            for (Index j = 0; j < d; ++j) {
                double sum = 0;
                for (Index i = j; i < d; ++i) sum += root[i * d + j] * white[i];
                linear_[c * d + j] = T(sum);
            }
        }
        if (is_narrow_) return whitened_.prepare(given, true);
        common_ = 0;
        for (Index i = 0; i < d; ++i)
            for (Index j = 0; j <= i; ++j)
                for (Index m = 0; m <= i; ++m)
                    common_ -= 0.5 * root[i * d + j] * root[i * d + m] * given.total[j * d + m];
        expanded_.prepare(k, d, constant_.data(), linear_.data());
    }
    void features(const Chunk<T>& chunk, Features<T>& features) const {
        features.at.fit(d_);
        for (Index i = 0; i < d_; ++i) features.at[i] = chunk.z + i * chunk.stride;
    }
    double common() const { return is_narrow_ ? 0 : common_; }
    void statistics(const Given<T>& given, const Taken<T>& taken) const {
        const Index k = given.k, d = given.d;
        Sums sums;
        if (is_narrow_) {
            whitened_.sums(sums);
        } else {
            sums.counts.fit(k), sums.first.fit(k * d), sums.second.fit(d * d);
            for (Index i = 0; i < d * d; ++i) sums.second[i] = given.total[i];
            for (Index c = 0; c < k; ++c) {
                const T* mean = means_.data() + c * d;
                sums.counts[c] = expanded_.count(c);
                for (Index i = 0; i < d; ++i) {
                    sums.first[c * d + i] = expanded_.sum(c, i) - sums.counts[c] * mean[i];
                    for (Index j = 0; j < d; ++j)
                        sums.second[i * d + j] -= expanded_.sum(c, i) * mean[j] + mean[i] * expanded_.sum(c, j) -
                                                  sums.counts[c] * mean[i] * mean[j];
                }
            }
        }
        first_moments(given, sums, taken);
        second_moments(given, sums.second.data(), 1, taken.second);
    }

private:
    using Base = EitherForm<T, Triangular<T, 0>>;
    using Base::expanded_, Base::is_narrow_, Base::whitened_;

    Index d_ = 0;
    double common_ = 0;
    Array<T> means_, constant_, linear_;
};

// Variances without correlations: one for each coordinate (diagonal), or one for all coordinates (spherical).
template <class T, bool SPHERICAL>
class Uncorrelated : public EitherForm<T, Diagonal<T>> {
public:
    double common() const { return 0; }
    void prepare(const Given<T>& given) {
        const Index k = given.k, d = d_ = given.d, scales = SPHERICAL ? 1 : d;
        given.working_means(means_);
        constant_.fit(k), whitener_.fit(k * d);
        Array<double> from_origin;
        from_origin.zeros(k);
        is_narrow_ = ALWAYS_WHITENED<T>;
        for (Index c = 0; c < k; ++c) {
            double log_determinant = 0;
            for (Index i = 0; i < d; ++i) {
                const double scale = given.scales[c * scales + (SPHERICAL ? 0 : i)];
                log_determinant += std::log(scale);
                whitener_[c * d + i] = T(unit(given, i) / scale);
                from_origin[c] += std::pow(double(means_[c * d + i]) * whitener_[c * d + i], 2);
            }
            constant_[c] = T(std::log(double(given.weights[c])) - log_determinant - d * HALF_LOG_2PI);
            is_narrow_ = is_narrow_ || from_origin[c] > FAR;
        }
        if (is_narrow_) return whitened_.prepare(k, d, constant_.data(), means_.data(), whitener_.data());
        const Index f = d + scales;
        coefficients_.fit(k * f);
        for (Index c = 0; c < k; ++c) {
            constant_[c] -= T(0.5 * from_origin[c]);
            for (Index i = 0; i < d; ++i) {
                const T precision = whitener_[c * d + i] * whitener_[c * d + i];
                coefficients_[c * f + i] = precision * means_[c * d + i];
                coefficients_[c * f + d + (SPHERICAL ? 0 : i)] = T(-0.5) * precision;
            }
        }
        expanded_.prepare(k, f, constant_.data(), coefficients_.data());
    }
    void features(const Chunk<T>& chunk, Features<T>& features) const {
        const Index rows = chunk.vectors * LANES<T>, d = d_, squares = SPHERICAL ? 1 : d;
        features.numbers.zeros(squares * rows);
        features.at.fit(d + squares);
        for (Index i = 0; i < d; ++i) {
            const T* z = chunk.z + i * chunk.stride;
            T* square = features.numbers.data() + (SPHERICAL ? 0 : i * rows);
            for (Index n = 0; n < rows; n += LANES<T>) store(square + n, load(square + n) + load(z + n) * load(z + n));
            features.at[i] = z;
        }
        for (Index i = 0; i < squares; ++i) features.at[d + i] = features.numbers.data() + i * rows;
    }
    void statistics(const Given<T>& given, const Taken<T>& taken) const {
        const Index k = given.k, d = given.d;
        Sums sums;
        if (is_narrow_) {
            whitened_.sums(sums);
            if (SPHERICAL)
                for (Index c = 0; c < k; ++c) {
                    double total = 0;
                    for (Index i = 0; i < d; ++i) total += sums.second[c * d + i];
                    sums.second[c] = total;
                }
        } else {
            sums.counts.fit(k), sums.first.fit(k * d), sums.second.fit(k * d);
            for (Index c = 0; c < k; ++c) {
                sums.counts[c] = expanded_.count(c);
                double total = 0;
                for (Index i = 0; i < d; ++i) {
                    const double mean = means_[c * d + i], sum = expanded_.sum(c, i);
                    const double about = (2 * sum - sums.counts[c] * mean) * mean;
                    sums.first[c * d + i] = sum - sums.counts[c] * mean;
                    total += about;
                    if (!SPHERICAL) sums.second[c * d + i] = expanded_.sum(c, d + i) - about;
                }
                if (SPHERICAL) sums.second[c] = expanded_.sum(c, d) - total;
            }
        }
        first_moments(given, sums, taken);
        for (Index i = 0; i < k * (SPHERICAL ? 1 : d); ++i)
            taken.second[i] = T(sums.second[i] * std::pow(unit(given, SPHERICAL ? 0 : i % d), 2));
    }

private:

    // The length in the data's units of a unit of a coordinate.
    static double unit(const Given<T>& given, Index i) {
        if (!SPHERICAL) return std::abs(double(given.matrix[i * given.d + i]));
        double square = 0;
        for (Index j = 0; j < given.d; ++j) square += std::pow(double(given.matrix[j * given.d]), 2);
        return std::sqrt(square);
    }

    using Base = EitherForm<T, Diagonal<T>>;
    using Base::expanded_, Base::is_narrow_, Base::whitened_;

    Index d_ = 0;
    Array<T> means_, constant_, whitener_, coefficients_;
};

enum class Name : std::int64_t { full, tied, diagonal, spherical };

}  // namespace workbench::WORKBENCH_SET
