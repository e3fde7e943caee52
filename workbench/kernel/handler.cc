// What JAX calls: the handlers of its foreign function interface, and the choice of an instruction set.

#include <new>

#include "call.h"
#include "xla/ffi/api/ffi.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace ffi = xla::ffi;

namespace workbench {
namespace {

// The registers' width in bytes that processor and operating system allow: 64 (AVX-512), 32 (AVX2 with FMA) or 16.
int register_bytes() {
#if defined(__x86_64__)
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 16;
    const bool has_fma = c & bit_FMA, saves = c & bit_OSXSAVE;
    if (!has_fma || !saves || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 16;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    const unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512CD | bit_AVX512BW | bit_AVX512VL;
    if ((b & wide) == wide && (low & 0xe6) == 0xe6) return 64;
    if ((b & bit_AVX2) && (b & bit_BMI2) && (low & 0x6) == 0x6) return 32;
#endif
    return 16;
}

int chosen() {
    static const int bytes = register_bytes();
    return bytes;
}

template <class T>
void run(const Call<T>& call) {
#if defined(__x86_64__)
    if (chosen() == 64) return avx512::run(call);
    if (chosen() == 32) return avx2::run(call);
#endif
    plain::run(call);
}

// Arrays may have leading axes, by which a batch of mixtures comes; an axis of an array that all mixtures share is 1.
struct Batch {
    std::ptrdiff_t size = 1;
    bool fits = true;

    template <class T>
    Batched<const T> of(const ffi::AnyBuffer& buffer, std::size_t own) {
        const auto dimensions = buffer.dimensions();
        std::ptrdiff_t each = 1, leading = 1;
        fits = fits && dimensions.size() >= own;
        if (!fits) return {};
        for (std::size_t i = 0; i < dimensions.size(); ++i) (i + own < dimensions.size() ? leading : each) *= dimensions[i];
        fits = leading == 1 || leading == size;
        return {static_cast<const T*>(buffer.untyped_data()), leading == 1 ? 0 : each};
    }
    template <class T>
    Batched<T> of(ffi::Result<ffi::AnyBuffer> buffer) const {
        return {static_cast<T*>(buffer->untyped_data()), std::ptrdiff_t(buffer->element_count()) / size};
    }
};

template <class T>
ffi::Error pass(ffi::AnyBuffer weights, ffi::AnyBuffer means, ffi::AnyBuffer scales, ffi::AnyBuffer z,
                ffi::AnyBuffer counted, ffi::AnyBuffer shift, ffi::AnyBuffer matrix, ffi::AnyBuffer inverse,
                ffi::AnyBuffer total, ffi::Result<ffi::AnyBuffer> value, ffi::RemainingRets rest, std::int64_t family,
                std::int64_t scale_axes, bool is_weighted) {
    const auto z_of = z.dimensions(), means_of = means.dimensions();
    if (z_of.size() < 3 || means_of.size() < 2) return ffi::Error::InvalidArgument("workbench: wrong number of axes");
    Batch batch{std::ptrdiff_t(value->element_count())};
    Call<T> call{};
    call.family = family, call.batch = batch.size;
    call.k = means_of[means_of.size() - 2], call.d = means_of.back();
    call.chunks = z_of[z_of.size() - 3], call.rows = z_of.back();
    call.is_weighted = is_weighted, call.wants_statistics = rest.size() == 3;
    call.weights = batch.of<T>(weights, 1), call.means = batch.of<T>(means, 2);
    call.scales = batch.of<T>(scales, scale_axes), call.z = batch.of<T>(z, 3);
    call.counted = batch.of<T>(counted, is_weighted ? 2 : 1), call.shift = batch.of<T>(shift, 1);
    call.matrix = batch.of<T>(matrix, 2), call.inverse = batch.of<T>(inverse, 2), call.total = batch.of<T>(total, 2);
    call.value = batch.of<T>(value);
    if (call.wants_statistics) {
        auto counts = rest.get<ffi::AnyBuffer>(0), first = rest.get<ffi::AnyBuffer>(1), second = rest.get<ffi::AnyBuffer>(2);
        if (!counts.has_value() || !first.has_value() || !second.has_value())
            return ffi::Error::InvalidArgument("workbench: results are missing");
        call.counts = batch.of<T>(*counts), call.first = batch.of<T>(*first), call.second = batch.of<T>(*second);
    }
    if (!batch.fits || z_of[z_of.size() - 2] != call.d) return ffi::Error::InvalidArgument("workbench: shapes do not fit");
    try {
        run(call);
    } catch (const std::bad_alloc&) {
        return ffi::Error(ffi::ErrorCode::kResourceExhausted, "workbench: no memory is left for the pass");
    }
    return ffi::Error::Success();
}

}  // namespace
}  // namespace workbench

#define WORKBENCH_HANDLER(NAME, T)                                                                                  \
    XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, workbench::pass<T>,                                                         \
                                  ffi::Ffi::Bind()                                                                  \
                                      .Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>()            \
                                      .Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>()            \
                                      .Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>().Arg<ffi::AnyBuffer>()            \
                                      .Ret<ffi::AnyBuffer>().RemainingRets()                                        \
                                      .Attr<std::int64_t>("family").Attr<std::int64_t>("scale_axes")                \
                                      .Attr<bool>("is_weighted"))

WORKBENCH_HANDLER(workbench_pass_float64, double);
WORKBENCH_HANDLER(workbench_pass_float32, float);

// The width in bytes of the registers for which the code was chosen.
extern "C" int workbench_register_bytes() { return workbench::chosen(); }

// The digest of the sources from which the library was built.
extern "C" const char* workbench_sources() { return WORKBENCH_SOURCES; }
