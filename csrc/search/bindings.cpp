// cardrec._search: checks what Python passes, once, and hands plain pointers to the algorithms. No algorithm lives
// here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "bitmap.hpp"
#include "dispatch.hpp"
#include "matrix.hpp"
#include "quantise.hpp"
#include "topk.hpp"

namespace py = pybind11;

namespace {

using cardrec::kMaxDimension;

// An ndarray of the given type and rank, packed, aligned and in native byte order: what a plain pointer can read.
py::array checked(const py::handle& object, const py::dtype& dtype, py::ssize_t rank, const std::string& name) {
    const std::string expected =
        name + ": expected a C-contiguous " + std::to_string(rank) + "-d array of " + std::string(py::str(dtype));
    if (!py::isinstance<py::array>(object)) throw py::type_error(expected);
    auto array = py::reinterpret_borrow<py::array>(object);
    if (!array.dtype().equal(dtype)) throw py::type_error(expected + ", got " + std::string(py::str(array.dtype())));
    if (array.ndim() != rank) throw py::value_error(expected + ", got " + std::to_string(array.ndim()) + "-d");
    constexpr int packed = py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_ | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
    if ((array.flags() & packed) != packed) throw py::value_error(expected + ", got a strided or unaligned one");
    return array;
}

void check_dimension(py::ssize_t dimension) {
    if (dimension < 1 || static_cast<std::size_t>(dimension) > kMaxDimension) {
        throw py::value_error("dimension must be in 1.." + std::to_string(kMaxDimension) + ", got " +
                              std::to_string(dimension));
    }
}

py::dtype float16() { return py::dtype("float16"); }

// Lets other Python threads run. CPython before 3.14 ends a daemon thread that comes back after the interpreter by
// unwinding its stack, which a destructor does not allow: such a thread sleeps here until the process is gone.
class Unlocked {
  public:
    Unlocked() : state_(PyEval_SaveThread()) {}
    Unlocked(const Unlocked&) = delete;
    Unlocked& operator=(const Unlocked&) = delete;
    ~Unlocked() {
        try {
            PyEval_RestoreThread(state_);
        } catch (...) {
            for (;;) ::pause();
        }
    }

  private:
    PyThreadState* state_;
};

class PyMatrix {
  public:
    PyMatrix(const py::sequence& segments, const py::object& basis, double delta, const std::string& tier) {
        std::vector<cardrec::Segment> views;
        py::ssize_t dimension = 0;
        if (!(delta >= 0.0 && delta < 1.0)) throw py::value_error("delta: expected a number from 0 to less than 1");
        cardrec::Basis rotation{nullptr, 0, delta};
        if (!basis.is_none()) {
            const py::array vectors = checked(basis, py::dtype::of<float>(), 2, "basis");
            check_dimension(dimension = vectors.shape(1));
            if (vectors.shape(0) < 4 || vectors.shape(0) % 4 != 0 || vectors.shape(0) > vectors.shape(1)) {
                throw py::value_error("basis: expected 4, 8, ... rows, not more than columns, got " +
                                      std::to_string(vectors.shape(0)));
            }
            rotation.vectors = static_cast<const float*>(vectors.data());
            rotation.rows = static_cast<std::size_t>(vectors.shape(0));
            kept_.push_back(vectors);
        }
        for (const py::handle segment : segments) {
            const auto parts = py::cast<py::tuple>(segment);
            if (parts.size() != 6) throw py::value_error("a segment is (vectors, codes, scales, errors, norm, prefix)");
            views.push_back(view(parts, dimension, rotation.rows));
        }
        matrix_ = std::make_unique<cardrec::Matrix>(cardrec::find_tier(tier), std::move(views),
                                                    static_cast<std::size_t>(dimension), rotation);
    }

    std::size_t rows() const { return matrix_->rows(); }
    std::size_t dimension() const { return matrix_->dimension(); }
    std::string tier() const { return matrix_->kernels().tier; }

    std::tuple<py::array, py::array> search(const py::object& queries, std::size_t k, const py::object& allowed,
                                            std::size_t threads, int zero_point) const {
        const std::vector<cardrec::Query> prepared = prepare(queries, zero_point);
        py::array words;
        const std::uint64_t* bits = nullptr;
        if (!allowed.is_none()) {
            words = checked(allowed, py::dtype::of<std::uint64_t>(), 1, "allowed");
            if (static_cast<std::size_t>(words.size()) != (rows() + 63) / 64) {
                throw py::value_error("allowed: expected " + std::to_string((rows() + 63) / 64) + " words, got " +
                                      std::to_string(words.size()));
            }
            bits = static_cast<const std::uint64_t*>(words.data());
        }
        const std::size_t columns = std::min(k, cardrec::count_allowed(bits, 0, rows()));
        py::array_t<std::int64_t> best({prepared.size(), columns});
        py::array_t<float> scores({prepared.size(), columns});
        {
            std::int64_t* best_out = best.mutable_data();
            float* scores_out = scores.mutable_data();
            const Unlocked unlocked;
            cardrec::search(*matrix_, prepared, columns, bits, threads, best_out, scores_out);
        }
        return {std::move(best), std::move(scores)};
    }

  private:
    // The queries of an (n, dimension) array of float, or of int8 or uint8 less their zero point.
    std::vector<cardrec::Query> prepare(const py::object& queries, int zero_point) const {
        const py::dtype dtype =
            py::isinstance<py::array>(queries) ? py::cast<py::array>(queries).dtype() : py::dtype("f4");
        const bool is_signed = dtype.equal(py::dtype::of<std::int8_t>());
        const bool integral = is_signed || dtype.equal(py::dtype::of<std::uint8_t>());
        const py::array vectors = checked(queries, integral ? dtype : py::dtype::of<float>(), 2, "queries");
        const auto count = static_cast<std::size_t>(vectors.shape(0)),
                   width = static_cast<std::size_t>(vectors.shape(1));
        if (matrix_->dimension() == 0 && rows() == 0) check_dimension(vectors.shape(1));
        if (rows() > 0 && width != dimension()) {
            throw py::value_error("queries: expected " + std::to_string(dimension()) + " columns, got " +
                                  std::to_string(width));
        }
        std::vector<float> integers(integral ? width : 0);
        std::vector<cardrec::Query> prepared;
        prepared.reserve(count);
        for (std::size_t q = 0; q < count; ++q) {
            const float* values = integers.data();
            if (is_signed) {
                subtract(static_cast<const std::int8_t*>(vectors.data()) + q * width, zero_point, integers);
            } else if (integral) {
                subtract(static_cast<const std::uint8_t*>(vectors.data()) + q * width, zero_point, integers);
            } else {
                values = static_cast<const float*>(vectors.data()) + q * width;
            }
            check_direction(values, width, q);
            const bool fits =
                integral && std::all_of(values, values + width, [](float v) { return std::abs(v) <= 127; });
            prepared.emplace_back(matrix_->kernels(), values, width, fits);
        }
        return prepared;
    }

    template <typename Integer>
    static void subtract(const Integer* values, int zero_point, std::vector<float>& to) {
        for (std::size_t i = 0; i < to.size(); ++i) to[i] = static_cast<float>(values[i] - zero_point);
    }

    static void check_direction(const float* values, std::size_t width, std::size_t query) {
        const bool finite = cardrec::first_not_finite(values, width) == width;
        if (finite && std::any_of(values, values + width, [](float v) { return v != 0.0f; })) return;
        throw py::value_error("vectors: row " + std::to_string(query) +
                              " is zero or not finite; it has no direction to compare");
    }

    // Checks the parts of one segment and keeps its arrays alive.
    cardrec::Segment view(const py::tuple& parts, py::ssize_t& dimension, std::size_t basis_rows) {
        const py::array codes = checked(parts[1], py::dtype::of<std::int8_t>(), 2, "codes");
        const py::array scales = checked(parts[2], py::dtype::of<float>(), 1, "scales");
        const py::array errors = checked(parts[3], py::dtype::of<float>(), 1, "errors");
        const py::ssize_t rows = codes.shape(0);
        check_dimension(codes.shape(1));
        if (dimension == 0) dimension = codes.shape(1);
        if (codes.shape(1) != dimension) {
            throw py::value_error("segments: expected rows of " + std::to_string(dimension) + " columns everywhere");
        }
        if (scales.shape(0) != rows || errors.shape(0) != rows) {
            throw py::value_error("segment: expected " + std::to_string(rows) +
                                  " scales and errors, as there are codes");
        }
        if (rows > std::numeric_limits<std::uint32_t>::max())
            throw py::value_error("segment: expected fewer than 2^32 rows");
        check_sizes("scales", scales);
        check_sizes("errors", errors);
        const auto norm = py::cast<double>(parts[4]);
        if (!(norm >= 0.0)) throw py::value_error("norm: expected a number of at least 0");
        for (const py::array& array : {codes, scales, errors}) kept_.push_back(array);
        return {static_cast<std::size_t>(rows),
                vectors(parts[0], rows, dimension),
                static_cast<const std::int8_t*>(codes.data()),
                static_cast<const float*>(scales.data()),
                static_cast<const float*>(errors.data()),
                norm,
                prefix(parts[5], rows, basis_rows)};
    }

    // What the bounds are made of: a negative number or NaN would exclude rows that are among the best.
    static void check_sizes(const char* name, const py::array& sizes) {
        const auto* values = static_cast<const float*>(sizes.data());
        if (std::all_of(values, values + sizes.size(), [](float value) { return value >= 0.0f; })) return;
        throw py::value_error(std::string(name) + ": expected numbers of at least 0");
    }

    // An array, or (file, offset, dtype) of rows in an open file.
    cardrec::Vectors vectors(const py::object& object, py::ssize_t rows, py::ssize_t dimension) {
        if (py::isinstance<py::tuple>(object)) {
            const auto [file, offset, dtype] = py::cast<std::tuple<py::object, std::size_t, py::dtype>>(object);
            const bool half = dtype.equal(float16());
            if (!half && !dtype.equal(py::dtype::of<float>()))
                throw py::value_error("vectors: expected float16 or float32");
            files_.push_back(file);
            return {nullptr, py::cast<int>(file.attr("fileno")()), offset, half};
        }
        const bool half = py::isinstance<py::array>(object) && py::cast<py::array>(object).dtype().equal(float16());
        const py::array array = checked(object, half ? float16() : py::dtype::of<float>(), 2, "vectors");
        if (array.shape(0) != rows || array.shape(1) != dimension) {
            throw py::value_error("segment: expected " + std::to_string(rows) + " vectors of " +
                                  std::to_string(dimension) + " columns, as there are codes");
        }
        kept_.push_back(array);
        return {array.data(), -1, 0, half};
    }

    // None, or (groups, scale, error, norm).
    cardrec::Prefix prefix(const py::object& object, py::ssize_t rows, std::size_t basis_rows) {
        if (object.is_none()) return {nullptr, 0.0, 0.0, 0.0};
        const auto [given, scale, error, norm] = py::cast<std::tuple<py::object, double, double, double>>(object);
        const py::array groups = checked(given, py::dtype::of<std::int8_t>(), 4, "prefix");
        const auto lanes = static_cast<py::ssize_t>(cardrec::kLanes);
        const auto quads = static_cast<py::ssize_t>((basis_rows + cardrec::kRestCodes) / 4);
        if (basis_rows == 0 || groups.shape(0) != (rows + lanes - 1) / lanes || groups.shape(1) != quads ||
            groups.shape(2) != lanes || groups.shape(3) != 4) {
            throw py::value_error(
                "prefix: expected (rows / 16, (basis rows + 4) / 4, 16, 4) codes, as rows and basis have");
        }
        if (!(scale > 0.0 && error >= 0.0 && norm >= 0.0)) throw py::value_error("prefix: expected positive numbers");
        kept_.push_back(groups);
        return {static_cast<const std::int8_t*>(groups.data()), scale, error, norm};
    }

    std::vector<py::array> kept_;
    std::vector<py::object> files_;
    std::unique_ptr<cardrec::Matrix> matrix_;
};

std::tuple<py::array, py::array, double> quantise(const py::object& object, const py::object& out) {
    const py::array vectors = checked(object, py::dtype::of<float>(), 2, "vectors");
    py::array codes = checked(out, py::dtype::of<std::int8_t>(), 2, "codes");
    check_dimension(vectors.shape(1));
    if (codes.shape(0) != vectors.shape(0) || codes.shape(1) != vectors.shape(1)) {
        throw py::value_error("codes: expected the shape of the vectors");
    }
    const auto rows = static_cast<std::size_t>(vectors.shape(0));
    const auto dimension = static_cast<std::size_t>(vectors.shape(1));
    const auto* source = static_cast<const float*>(vectors.data());
    if (const std::size_t place = cardrec::first_not_finite(source, rows * dimension); place < rows * dimension) {
        throw py::value_error("vectors: expected finite numbers, row " + std::to_string(place / dimension) +
                              " has others");
    }
    py::array_t<float> scales(vectors.shape(0));
    py::array_t<float> errors(vectors.shape(0));
    float norm = 0.0f;
    {
        auto* codes_out = static_cast<std::int8_t*>(codes.mutable_data());
        float* scales_out = scales.mutable_data();
        float* errors_out = errors.mutable_data();
        const Unlocked unlocked;
        for (std::size_t r = 0; r < rows; ++r) {
            const cardrec::Quantised row =
                cardrec::quantise(source + r * dimension, dimension, codes_out + r * dimension);
            scales_out[r] = row.scale;
            errors_out[r] = row.error;
            norm = std::max(norm, row.norm);
        }
    }
    return {std::move(scales), std::move(errors), norm};
}

std::vector<std::string> simd_tiers() {
    std::vector<std::string> names;
    for (const cardrec::Kernels* tier : cardrec::available_tiers()) names.emplace_back(tier->tier);
    return names;
}

}  // namespace

PYBIND11_MODULE(_search, module) {
    module.doc() = "Exact top-k by inner product over int8 codes and the rows they stand for.";
    py::register_local_exception_translator([](std::exception_ptr thrown) {
        try {
            if (thrown) std::rethrow_exception(thrown);
        } catch (const std::system_error& error) {
            const py::object os_error = py::reinterpret_borrow<py::object>(PyExc_OSError);
            PyErr_SetObject(PyExc_OSError, os_error(error.code().value(), error.what()).ptr());
        }
    });
    // Of plain type `type`, as the stub says, and final: no subclass can leave out __init__.
    const py::metaclass plain(reinterpret_cast<PyObject*>(&PyType_Type));
    py::class_<PyMatrix>(module, "Matrix", plain, py::is_final(),
                         "Segments seen as one matrix; keeps their arrays alive and never writes to them.")
        .def(py::init<const py::sequence&, const py::object&, double, const std::string&>(), py::arg("segments"),
             py::arg("basis") = py::none(), py::arg("delta") = 0.0, py::arg("tier") = "")
        .def_property_readonly("rows", &PyMatrix::rows)
        .def_property_readonly("dimension", &PyMatrix::dimension)
        .def_property_readonly("tier", &PyMatrix::tier)
        .def("search", &PyMatrix::search, py::arg("queries"), py::arg("k"), py::arg("allowed") = py::none(),
             py::arg("threads") = 1, py::arg("zero_point") = 0);
    module.def("quantise", &quantise, py::arg("vectors"), py::arg("codes"));
    module.def("simd_tiers", &simd_tiers);
    module.def("simd_tier", [] { return cardrec::find_tier("").tier; });
}
