// The pass over all chunks of rows, for each mixture of a batch. Compiled once for each instruction set.

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
template <class T>
class Mixtures {
public:
    explicit Mixtures(Index size) : size_(size) { at_.zeros(size); }
    ~Mixtures() {
        for (Index b = 0; b < size_; ++b) delete at_[b];
    }
    Family<T>*& operator[](Index b) { return at_[b]; }

private:
    Index size_;
    Array<Family<T>*> at_;
};

template <class T>
void pass(const Call<T>& call) {
    const Index k = call.k, d = call.d;
    const auto given = [&](Index b) {
        return Given<T>{k, d, call.weights.of(b), call.means.of(b), call.scales.of(b), call.shift.of(b),
                        call.matrix.of(b), call.inverse.of(b), call.total.of(b)};
    };
    Mixtures<T> mixtures(call.batch);
    Array<double> values;
    values.zeros(call.batch);
    for (Index b = 0; b < call.batch; ++b) {
        mixtures[b] = family_of<T>(Name(call.family), d);
        mixtures[b]->prepare(given(b));
    }
    Padded<T> padded;
    Features<T> features;
    Shares<T> shares;
    Array<T> counted;
    for (Index c = 0; c < call.chunks; ++c) {
        Chunk<T> chunk{};
        for (Index b = 0; b < call.batch; ++b) {
            if (b == 0 || call.z.step != 0 || call.counted.step != 0) {
                chunk = padded.of(call.z.of(b) + c * d * call.rows, d, call.rows);
                shares.fit(k, chunk.vectors);
                counted.zeros(chunk.vectors * LANES<T>);
                const T* times = call.counted.of(b);
                const Index rows = call.is_weighted ? call.rows : Index(times[c]);
                for (Index n = 0; n < rows; ++n) counted[n] = call.is_weighted ? times[c * call.rows + n] : T(1);
                mixtures[b]->features(chunk, features);
            }
            mixtures[b]->log_joint(chunk, features, shares);
            values[b] += normalise(shares, k, counted.data(), chunk.vectors);
            if (call.wants_statistics) mixtures[b]->add(chunk, features, shares);
        }
    }
    for (Index b = 0; b < call.batch; ++b) {
        *call.value.of(b) = T(values[b] + mixtures[b]->common());
        if (call.wants_statistics)
            mixtures[b]->statistics(given(b), {call.counts.of(b), call.first.of(b), call.second.of(b)});
    }
}

}  // namespace

void run(const Call<double>& call) { pass(call); }
void run(const Call<float>& call) { pass(call); }

}  // namespace workbench::WORKBENCH_SET
