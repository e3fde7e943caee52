// What JAX calls: the handlers of its foreign function interface, and the choice of an instruction set.
//
// The interface's C header needs no C++ library, so that the result runs beside any.

#include <string.h>

#include "call.h"
#include "xla/ffi/api/c_api.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

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

// As above; asked once, because a virtual machine takes microseconds to answer.
int chosen() {
    static int bytes = 0;
    if (bytes == 0) bytes = register_bytes();
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

// Reads the arrays of a batch: before an array's own axes stand those of the batch, of length 1 where it is shared.
struct Batch {
    Axes axes;
    bool fits = true;

    explicit Batch(const XLA_FFI_Buffer& value) : fits(value.rank <= MOST_AXES) {
        axes.number = fits ? value.rank : 0;
        for (std::ptrdiff_t i = 0; i < axes.number; ++i) axes.size *= axes.lengths[i] = value.dims[i];
    }

    template <class T>
    Batched<T> array(const XLA_FFI_Buffer& buffer, std::int64_t own) {
        Batched<T> array{static_cast<T*>(buffer.data), &axes, {}};
        fits = fits && buffer.rank == axes.number + own;
        if (!fits) return array;
        std::ptrdiff_t step = 1;
        for (std::int64_t i = buffer.rank - 1; i >= 0; step *= buffer.dims[i], --i) {
            if (i >= axes.number) continue;
            fits = fits && (buffer.dims[i] == 1 || buffer.dims[i] == axes.lengths[i]);
            array.steps[i] = buffer.dims[i] == 1 ? 0 : step;
        }
        return array;
    }
};

XLA_FFI_Error* error(const XLA_FFI_CallFrame* frame, const char* message) {
    XLA_FFI_Error_Create_Args args{};
    args.struct_size = XLA_FFI_Error_Create_Args_STRUCT_SIZE;
    args.message = message;
    args.errc = XLA_FFI_Error_Code_INVALID_ARGUMENT;
    return frame->api->XLA_FFI_Error_Create(&args);
}

// A whole number among the attributes; -1 where it is missing.
std::int64_t attribute(const XLA_FFI_Attrs& attrs, const char* name) {
    for (std::int64_t i = 0; i < attrs.size; ++i)
        if (attrs.names[i]->len == strlen(name) && memcmp(attrs.names[i]->ptr, name, strlen(name)) == 0 &&
            attrs.types[i] == XLA_FFI_AttrType_SCALAR) {
            const auto* scalar = static_cast<const XLA_FFI_Scalar*>(attrs.attrs[i]);
            if (scalar->dtype == XLA_FFI_DataType_S64) return *static_cast<const std::int64_t*>(scalar->value);
        }
    return -1;
}

// JAX asks a handler for the version of the interface before it calls it. Returns whether it did.
bool answers_question(const XLA_FFI_CallFrame* frame) {
    XLA_FFI_Extension_Base* extension = frame->extension_start;
    if (extension == nullptr || extension->type != XLA_FFI_Extension_Metadata) return false;
    XLA_FFI_Metadata* metadata = reinterpret_cast<XLA_FFI_Metadata_Extension*>(extension)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    metadata->traits = 0;
    return true;
}

enum Argument { WEIGHTS, MEANS, SCALES, Z, COUNTED, SHIFT, MATRIX, INVERSE, TOTAL, UNIFORM, ARGUMENTS };

template <class T>
XLA_FFI_Error* pass(XLA_FFI_CallFrame* frame) {
    if (answers_question(frame)) return nullptr;
    const bool draws = frame->args.size == ARGUMENTS;
    if ((!draws && frame->args.size != UNIFORM) || (frame->rets.size != 1 && frame->rets.size != 4))
        return error(frame, "workbench: wrong number of arguments or results");
    const auto given = [&](Argument i) -> const XLA_FFI_Buffer& {
        return *static_cast<const XLA_FFI_Buffer*>(frame->args.args[i]);
    };
    const auto taken = [&](int i) -> const XLA_FFI_Buffer& {
        return *static_cast<const XLA_FFI_Buffer*>(frame->rets.rets[i]);
    };
    const auto expected = sizeof(T) == 8 ? XLA_FFI_DataType_F64 : XLA_FFI_DataType_F32;
    for (int i = 0; i < frame->args.size; ++i)
        if (given(Argument(i)).dtype != expected) return error(frame, "workbench: an argument has another type");
    const XLA_FFI_Buffer &z = given(Z), &means = given(MEANS);
    if (z.rank < 3 || means.rank < 2) return error(frame, "workbench: an argument has too few axes");

    Batch batch(taken(0));
    if (batch.axes.size == 0) return nullptr;
    Call<T> call{};
    call.family = attribute(frame->attrs, "family");
    call.is_weighted = attribute(frame->attrs, "is_weighted") == 1;
    call.wants_statistics = frame->rets.size == 4;
    call.draws = draws;
    call.batch = batch.axes.size;
    call.k = means.dims[means.rank - 2], call.d = means.dims[means.rank - 1];
    call.chunks = z.dims[z.rank - 3], call.rows = z.dims[z.rank - 1];
    const std::int64_t scale_axes = attribute(frame->attrs, "scale_axes");
    call.weights = batch.array<const T>(given(WEIGHTS), 1);
    call.means = batch.array<const T>(means, 2);
    call.scales = batch.array<const T>(given(SCALES), scale_axes);
    call.z = batch.array<const T>(z, 3);
    call.counted = batch.array<const T>(given(COUNTED), call.is_weighted ? 2 : 1);
    call.shift = batch.array<const T>(given(SHIFT), 1);
    call.matrix = batch.array<const T>(given(MATRIX), 2);
    call.inverse = batch.array<const T>(given(INVERSE), 2);
    call.total = batch.array<const T>(given(TOTAL), 2);
    if (draws) call.uniform = batch.array<const T>(given(UNIFORM), 2);
    call.value = batch.array<T>(taken(0), 0);
    if (call.wants_statistics) {
        call.counts = batch.array<T>(taken(1), 1);
        call.first = batch.array<T>(taken(2), 2);
        call.second = batch.array<T>(taken(3), scale_axes);
    }
    if (!batch.fits || z.dims[z.rank - 2] != call.d) return error(frame, "workbench: shapes do not fit");
    run(call);
    return nullptr;
}

}  // namespace
}  // namespace workbench

extern "C" {

XLA_FFI_Error* workbench_pass_float64(XLA_FFI_CallFrame* frame) { return workbench::pass<double>(frame); }
XLA_FFI_Error* workbench_pass_float32(XLA_FFI_CallFrame* frame) { return workbench::pass<float>(frame); }

// The width in bytes of the registers for which the code was chosen.
int workbench_register_bytes() { return workbench::chosen(); }

// The digest of the sources from which the library was built.
const char* workbench_sources() { return WORKBENCH_SOURCES; }
}
