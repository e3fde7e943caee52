// The pass over all chunks of rows, for each mixture of a batch. Compiled once for each instruction set.

#include <new>

#include "call.h"
#include "families.h"

namespace workbench::WORKBENCH_SET {

namespace {

// The first `rows` rows of one chunk of `room`, padded to full vectors where the chunk does not hold these.
template <class T>
class Padded {
public:
    Chunk<T> of(const T* z, Index d, Index room, Index rows) {
        const Index vectors = (rows + LANES<T> - 1) / LANES<T>, stride = vectors * LANES<T>;
        if (stride <= room) return {z, room, vectors, rows};
        numbers_.zeros(d * stride);
        for (Index i = 0; i < d; ++i) std::memcpy(numbers_.data() + i * stride, z + i * room, sizeof(T) * rows);
        return {numbers_.data(), stride, vectors, rows};
    }

private:
    Array<T> numbers_;
};

// The mixtures of a batch.
template <class Family>
class Mixtures {
public:
    explicit Mixtures(Index size) : size_(size) {
        memory_.fit(size * sizeof(Family));
        for (Index b = 0; b < size; ++b) new (&(*this)[b]) Family;
    }
    ~Mixtures() {
        for (Index b = 0; b < size_; ++b) (*this)[b].~Family();
    }
    Family& operator[](Index b) { return reinterpret_cast<Family*>(memory_.data())[b]; }

private:
    Index size_;
    Array<unsigned char> memory_;
};

// A pass of one mixture or of several, over all rows.
template <class T, class Family>
class Pass {
public:
    explicit Pass(const Call<T>& call) : call_(call) {}

    // Mixtures `first` to `last`; chunks of rows are the outer loop, so that all mixtures share a chunk's loads.
    void of(Index first, Index last, Family* mixtures) {
        const Index k = call_.k;
        values_.zeros(last - first);
        for (Index b = first; b < last; ++b) mixtures[b - first].prepare(given(b));
        for (Index c = 0; c < call_.chunks; ++c)
            for (Index b = first; b < last; ++b) {
                Family& mixture = mixtures[b - first];
                if (b == 0 || !shares_rows(b)) {
                    read(b, c);
                    mixture.features(chunk_, features_);
                }
                if (chunk_.vectors == 0) continue;
                mixture.log_joint(chunk_, features_, shares_);
                if (call_.draws) {
                    const T* own = call_.uniform.of(b) + c * call_.rows;
                    const T* level = levels_.of(own, 1, call_.rows, chunk_.rows).z;
                    allocate(shares_, k, counted_.data(), level, chunk_.vectors);
                } else {
                    values_[b - first] += normalise(shares_, k, counted_.data(), chunk_.vectors);
                }
                if (call_.wants_statistics) mixture.add(chunk_, features_, shares_);
            }
        for (Index b = first; b < last; ++b) {
            const Family& mixture = mixtures[b - first];
            *call_.value.of(b) = T(values_[b - first] + mixture.common());
            if (call_.wants_statistics) mixture.statistics(given(b), taken(b));
        }
    }

private:
    // Whether a mixture's rows are those of the mixture before it.
    bool shares_rows(Index b) const {
        return call_.z.of(b) == call_.z.of(b - 1) && call_.counted.of(b) == call_.counted.of(b - 1);
    }
    Given<T> given(Index b) const {
        return {call_.k, call_.d, call_.weights.of(b), call_.means.of(b), call_.scales.of(b), call_.shift.of(b),
                call_.matrix.of(b), call_.inverse.of(b), call_.total.of(b)};
    }
    Taken<T> taken(Index b) const { return {call_.counts.of(b), call_.first.of(b), call_.second.of(b)}; }

    void read(Index b, Index c) {
        const T* times = call_.counted.of(b);
        // Rows that are padding, at the end of a chunk, are left out.
        const Index rows = call_.is_weighted ? call_.rows : Index(times[c]);
        chunk_ = padded_.of(call_.z.of(b) + c * call_.d * call_.rows, call_.d, call_.rows, rows);
        shares_.fit(call_.k, chunk_.vectors);
        counted_.zeros(chunk_.vectors * LANES<T>);
        for (Index n = 0; n < rows; ++n) counted_[n] = call_.is_weighted ? times[c * call_.rows + n] : T(1);
    }

    const Call<T>& call_;
    Padded<T> padded_, levels_;
    Chunk<T> chunk_{};
    Features<T> features_;
    Shares<T> shares_;
    Array<T> counted_;
    Array<double> values_;
};

template <class T, class Family>
void pass(const Call<T>& call) {
    // Of a single chunk, which stays in the cache, one mixture is done with before the next begins.
    const Index together = call.chunks > 1 ? call.batch : 1;
    Mixtures<Family> mixtures(together);
    Pass<T, Family> pass(call);
    for (Index b = 0; b < call.batch; b += together) pass.of(b, b + together, &mixtures[0]);
}

template <class T>
void choose(const Call<T>& call) {
    switch (Name(call.family)) {
        case Name::tied: return pass<T, Tied<T>>(call);
        case Name::diagonal: return pass<T, Uncorrelated<T, false>>(call);
        case Name::spherical: return pass<T, Uncorrelated<T, true>>(call);
        default: break;
    }
    switch (call.d) {
        case 1: return pass<T, Full<T, 1>>(call);
        case 2: return pass<T, Full<T, 2>>(call);
        case 3: return pass<T, Full<T, 3>>(call);
        case 4: return pass<T, Full<T, 4>>(call);
        case 5: return pass<T, Full<T, 5>>(call);
        case 6: return pass<T, Full<T, 6>>(call);
        case 7: return pass<T, Full<T, 7>>(call);
        case 8: return pass<T, Full<T, 8>>(call);
        default: return pass<T, Full<T, 0>>(call);
    }
}

}  // namespace

void run(const Call<double>& call) { choose(call); }
void run(const Call<float>& call) { choose(call); }

}  // namespace workbench::WORKBENCH_SET
