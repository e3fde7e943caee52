// The pass over all chunks of rows, for each mixture of a batch. Compiled once for each instruction set.

#include <new>

#include "call.h"
#include "families.h"

namespace workbench::WORKBENCH_SET {

namespace {

// The rows of one chunk, padded to full vectors where the chunk does not end with one.
template <class T>
class Padded {
public:
    Chunk<T> of(const T* z, Index d, Index rows) {
        const Index vectors = (rows + LANES<T> - 1) / LANES<T>, stride = vectors * LANES<T>;
        if (stride == rows) return {z, rows, vectors};
        numbers_.zeros(d * stride);
        for (Index i = 0; i < d; ++i) std::memcpy(numbers_.data() + i * stride, z + i * rows, sizeof(T) * rows);
        return {numbers_.data(), stride, vectors};
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

template <class T, class Family>
void pass(const Call<T>& call) {
    const Index k = call.k, d = call.d;
    const auto given = [&](Index b) {
        return Given<T>{k, d, call.weights.of(b), call.means.of(b), call.scales.of(b), call.shift.of(b),
                        call.matrix.of(b), call.inverse.of(b), call.total.of(b)};
    };
    Mixtures<Family> mixtures(call.batch);
    Array<double> values;
    values.zeros(call.batch);
    for (Index b = 0; b < call.batch; ++b) {
        mixtures[b].prepare(given(b));
    }
    Padded<T> padded;
    Features<T> features;
    Shares<T> shares;
    Array<T> counted;
    for (Index c = 0; c < call.chunks; ++c) {
        Chunk<T> chunk{};
        for (Index b = 0; b < call.batch; ++b) {
            if (b == 0 || call.z.of(b) != call.z.of(b - 1) || call.counted.of(b) != call.counted.of(b - 1)) {
                chunk = padded.of(call.z.of(b) + c * d * call.rows, d, call.rows);
                shares.fit(k, chunk.vectors);
                counted.zeros(chunk.vectors * LANES<T>);
                const T* times = call.counted.of(b);
                const Index rows = call.is_weighted ? call.rows : Index(times[c]);
                for (Index n = 0; n < rows; ++n) counted[n] = call.is_weighted ? times[c * call.rows + n] : T(1);
                mixtures[b].features(chunk, features);
            }
            mixtures[b].log_joint(chunk, features, shares);
            values[b] += normalise(shares, k, counted.data(), chunk.vectors);
            if (call.wants_statistics) mixtures[b].add(chunk, features, shares);
        }
    }
    for (Index b = 0; b < call.batch; ++b) {
        *call.value.of(b) = T(values[b] + mixtures[b].common());
        if (call.wants_statistics)
            mixtures[b].statistics(given(b), {call.counts.of(b), call.first.of(b), call.second.of(b)});
    }
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
