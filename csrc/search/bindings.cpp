// cardrec._search: checks what Python passes, once, and hands plain pointers to the algorithms. No algorithm lives
// here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "bitmap.hpp"
#include "kernels.hpp"
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

class PyMatrix {
  public:
    explicit PyMatrix(const py::sequence& segments) {
        std::vector<cardrec::Segment> views;
        py::ssize_t dimension = 0;
        for (const py::handle segment : segments) {
            const auto arrays = py::cast<py::tuple>(segment);
            if (arrays.size() != 4) throw py::value_error("a segment is (vectors, codes, scales, errors)");
            views.push_back(view(arrays, dimension));
        }
        matrix_ = std::make_unique<cardrec::Matrix>(std::move(views), static_cast<std::size_t>(dimension));
    }

    std::size_t rows() const { return matrix_->rows(); }
    std::size_t dimension() const { return matrix_->dimension(); }

    std::tuple<py::array, py::array> search(const py::object& queries, std::size_t k, const py::object& allowed,
                                            std::size_t threads) const {
        const py::array vectors = checked(queries, py::dtype::of<float>(), 2, "queries");
        const auto count = static_cast<std::size_t>(vectors.shape(0));
        if (rows() > 0 && static_cast<std::size_t>(vectors.shape(1)) != dimension()) {
            throw py::value_error("queries: expected " + std::to_string(dimension()) + " columns, got " +
                                  std::to_string(vectors.shape(1)));
        }
        const auto* query = static_cast<const float*>(vectors.data());
        if (!cardrec::all_finite(query, static_cast<std::size_t>(vectors.size()))) {
            throw py::value_error("queries: expected finite numbers");
        }
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
        const std::size_t columns = std::min(k, cardrec::count_allowed(bits, rows()));
        py::array_t<std::int64_t> best({count, columns});
        py::array_t<float> scores({count, columns});
        {
            std::int64_t* best_out = best.mutable_data();
            float* scores_out = scores.mutable_data();
            const py::gil_scoped_release unlocked;
            cardrec::search(*matrix_, query, count, columns, bits, threads, best_out, scores_out);
        }
        return {std::move(best), std::move(scores)};
    }

  private:
    // Checks the four arrays of one segment and keeps them alive.
    cardrec::Segment view(const py::tuple& arrays, py::ssize_t& dimension) {
        const bool half =
            py::isinstance<py::array>(arrays[0]) && py::cast<py::array>(arrays[0]).dtype().equal(float16());
        const py::array vectors = checked(arrays[0], half ? float16() : py::dtype::of<float>(), 2, "vectors");
        const py::array codes = checked(arrays[1], py::dtype::of<std::int8_t>(), 2, "codes");
        const py::array scales = checked(arrays[2], py::dtype::of<float>(), 1, "scales");
        const py::array errors = checked(arrays[3], py::dtype::of<float>(), 1, "errors");
        const py::ssize_t rows = vectors.shape(0);
        check_dimension(vectors.shape(1));
        if (dimension == 0) dimension = vectors.shape(1);
        if (vectors.shape(1) != dimension || codes.shape(1) != dimension) {
            throw py::value_error("segments: expected rows of " + std::to_string(dimension) + " columns everywhere");
        }
        if (codes.shape(0) != rows || scales.shape(0) != rows || errors.shape(0) != rows) {
            throw py::value_error("segment: expected " + std::to_string(rows) +
                                  " codes, scales and errors, as there are vectors");
        }
        for (const py::array& array : {vectors, codes, scales, errors}) kept_.push_back(array);
        return {static_cast<std::size_t>(rows),
                half ? nullptr : static_cast<const float*>(vectors.data()),
                half ? static_cast<const std::uint16_t*>(vectors.data()) : nullptr,
                static_cast<const std::int8_t*>(codes.data()),
                static_cast<const float*>(scales.data()),
                static_cast<const float*>(errors.data())};
    }

    std::vector<py::array> kept_;
    std::unique_ptr<cardrec::Matrix> matrix_;
};

std::tuple<py::array, py::array, py::array> quantise(const py::object& object) {
    const py::array vectors = checked(object, py::dtype::of<float>(), 2, "vectors");
    check_dimension(vectors.shape(1));
    const auto rows = static_cast<std::size_t>(vectors.shape(0));
    const auto dimension = static_cast<std::size_t>(vectors.shape(1));
    const auto* source = static_cast<const float*>(vectors.data());
    if (!cardrec::all_finite(source, rows * dimension)) throw py::value_error("vectors: expected finite numbers");
    py::array_t<std::int8_t> codes({rows, dimension});
    py::array_t<float> scales(vectors.shape(0));
    py::array_t<float> errors(vectors.shape(0));
    {
        std::int8_t* codes_out = codes.mutable_data();
        float* scales_out = scales.mutable_data();
        float* errors_out = errors.mutable_data();
        const py::gil_scoped_release unlocked;
        for (std::size_t r = 0; r < rows; ++r) {
            const cardrec::Quantised row =
                cardrec::quantise(source + r * dimension, dimension, codes_out + r * dimension);
            scales_out[r] = row.scale;
            errors_out[r] = cardrec::round_up(row.error);
        }
    }
    return {std::move(codes), std::move(scales), std::move(errors)};
}

}  // namespace

PYBIND11_MODULE(_search, module) {
    module.doc() = "Exact top-k by inner product over int8 codes and the rows they stand for.";
    // Of plain type `type`, as the stub says, and final: no subclass can leave out __init__.
    const py::metaclass plain(reinterpret_cast<PyObject*>(&PyType_Type));
    py::class_<PyMatrix>(module, "Matrix", plain, py::is_final(),
                         "Segments seen as one matrix; keeps their arrays alive and never writes to them.")
        .def(py::init<const py::sequence&>(), py::arg("segments"))
        .def_property_readonly("rows", &PyMatrix::rows)
        .def_property_readonly("dimension", &PyMatrix::dimension)
        .def("search", &PyMatrix::search, py::arg("queries"), py::arg("k"), py::arg("allowed") = py::none(),
             py::arg("threads") = 1);
    module.def("quantise", &quantise, py::arg("vectors"));
    module.def("simd_tier", [] { return cardrec::kernels().tier; });
}
