// cardrec._detect: checks what Python passes, once, and hands plain pointers to the algorithms. No algorithm lives
// here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "corners.hpp"
#include "frame.hpp"
#include "propose.hpp"
#include "quad.hpp"
#include "refine.hpp"
#include "sides.hpp"

namespace py = pybind11;

namespace {

using cardrec::kQuadNumbers;
using cardrec::Quad;
using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Unlocked = py::gil_scoped_release;

std::string shape_of(const py::array& array) { return py::str(array.attr("shape")); }

[[noreturn]] void refuse(const std::string& name, const std::string& expected, const py::array& got) {
    throw py::value_error(name + ": expected " + expected + ", got " + shape_of(got));
}

std::vector<Quad> quads_of(const Floats& numbers, const std::string& name = "quads") {
    if (numbers.ndim() != 3 || numbers.shape(1) != 4 || numbers.shape(2) != 2) refuse(name, "(n, 4, 2)", numbers);
    std::vector<Quad> quads(static_cast<std::size_t>(numbers.shape(0)));
    for (std::size_t i = 0; i < quads.size(); ++i) quads[i] = cardrec::read_quad(numbers.data() + i * kQuadNumbers);
    return quads;
}

// What goes with these quads: so many numbers for each.
void check_said(const Floats& said, std::size_t quads, std::size_t numbers) {
    if (said.ndim() < 2 || static_cast<std::size_t>(said.size()) != quads * numbers) {
        refuse("said", std::to_string(numbers) + " numbers for each of " + std::to_string(quads) + " quads", said);
    }
}

Floats array_of(const std::vector<Quad>& quads) {
    Floats numbers({quads.size(), std::size_t{4}, std::size_t{2}});
    for (std::size_t i = 0; i < quads.size(); ++i) {
        cardrec::write_quad(quads[i], numbers.mutable_data() + i * kQuadNumbers);
    }
    return numbers;
}

cardrec::Frame frame_of(const py::array_t<std::uint8_t>& pixels, bool swap_rb) {
    const bool grey = pixels.ndim() == 2;
    const py::ssize_t channels = grey ? 1 : pixels.ndim() == 3 ? pixels.shape(2) : 0;
    if (pixels.size() == 0 || (channels != 1 && channels != 3 && channels != 4)) {
        refuse("pixels", "(height, width) or (height, width, 1 | 3 | 4), none of them 0", pixels);
    }
    const cardrec::Picture picture =
        cardrec::make_picture(pixels.data(), pixels.shape(0), pixels.shape(1), channels, pixels.strides(0),
                              pixels.strides(1), grey ? 0 : pixels.strides(2), swap_rb);
    return picture.frames[0];
}

template <typename Value, typename Function>
py::array_t<Value> each(const std::vector<Quad>& quads, Function function) {
    py::array_t<Value> values(static_cast<py::ssize_t>(quads.size()));
    for (std::size_t i = 0; i < quads.size(); ++i) values.mutable_data()[i] = function(quads[i]);
    return values;
}

std::tuple<Floats, Floats> propose(const Floats& cells, double least, std::size_t most) {
    if (cells.ndim() != 3 || cells.shape(0) != static_cast<py::ssize_t>(cardrec::kCellChannels) || cells.size() == 0) {
        refuse("cells", "(" + std::to_string(cardrec::kCellChannels) + ", rows, columns), none of them 0", cells);
    }
    if (!(least > 0.0 && least < 1.0)) throw py::value_error("least: expected a number between 0 and 1");
    std::vector<cardrec::Proposal> found;
    {
        const Unlocked unlocked;
        found = cardrec::propose(cells.data(), static_cast<std::size_t>(cells.shape(1)),
                                 static_cast<std::size_t>(cells.shape(2)), least, most);
    }
    std::vector<Quad> quads;
    Floats scores(static_cast<py::ssize_t>(found.size()));
    for (std::size_t i = 0; i < found.size(); ++i) {
        quads.push_back(found[i].quad);
        scores.mutable_data()[i] = found[i].score;
    }
    return {array_of(quads), scores};
}

Floats surroundings(const Floats& quads) {
    std::vector<Quad> around = quads_of(quads);
    for (Quad& quad : around) quad = cardrec::surroundings(quad);
    return array_of(around);
}

std::tuple<Floats, py::array_t<double>> corrected(const Floats& around, const Floats& said) {
    std::vector<Quad> quads = quads_of(around, "around");
    check_said(said, quads.size(), cardrec::kCornerChannels);
    py::array_t<double> scores(static_cast<py::ssize_t>(quads.size()));
    for (std::size_t i = 0; i < quads.size(); ++i) {
        const float* numbers = said.data() + i * cardrec::kCornerChannels;
        quads[i] = cardrec::corrected(quads[i], numbers);
        scores.mutable_data()[i] = cardrec::score(numbers);
    }
    return {array_of(quads), scores};
}

py::array_t<std::uint8_t> strips(const py::array_t<std::uint8_t>& pixels, bool swap_rb, const Floats& quads) {
    const cardrec::Frame frame = frame_of(pixels, swap_rb);
    const std::vector<Quad> along = quads_of(quads);
    py::array_t<std::uint8_t> out({4 * along.size(), cardrec::kStripAlong, cardrec::kStripAcross, std::size_t{3}});
    std::uint8_t* to = out.mutable_data();
    {
        const Unlocked unlocked;
        for (std::size_t i = 0; i < along.size(); ++i) {
            cardrec::write_strips(frame, along[i], to + i * 4 * cardrec::kStripBytes);
        }
    }
    return out;
}

Floats with_sides(const Floats& quads, const Floats& said) {
    std::vector<Quad> placed = quads_of(quads);
    check_said(said, placed.size(), 4 * cardrec::kSideNumbers);
    {
        const Unlocked unlocked;
        for (std::size_t i = 0; i < placed.size(); ++i) {
            placed[i] = cardrec::with_sides(placed[i], said.data() + i * 4 * cardrec::kSideNumbers);
        }
    }
    return array_of(placed);
}

Floats refined(const py::array_t<std::uint8_t>& pixels, const Floats& quads, std::optional<double> reach_px) {
    const cardrec::Frame frame = frame_of(pixels, false);
    std::vector<Quad> fitted = quads_of(quads);
    {
        const Unlocked unlocked;
        for (Quad& quad : fitted) quad = cardrec::refined(frame, quad, reach_px.value_or(cardrec::usual_reach(quad)));
    }
    return array_of(fitted);
}

py::array_t<double> moved(const Floats& quads, const Floats& others) {
    const std::vector<Quad> from = quads_of(quads), to = quads_of(others, "others");
    if (from.size() != to.size()) refuse("others", "as many as quads", others);
    py::array_t<double> away(static_cast<py::ssize_t>(from.size()));
    for (std::size_t i = 0; i < from.size(); ++i) away.mutable_data()[i] = cardrec::moved(from[i], to[i]);
    return away;
}

// Places of those that are not the same card as one before, at most so many.
std::vector<std::size_t> distinct(const Floats& numbers, std::size_t most) {
    const std::vector<Quad> quads = quads_of(numbers);
    std::vector<std::size_t> kept;
    for (std::size_t i = 0; i < quads.size() && kept.size() < most; ++i) {
        const auto is_same = [&](std::size_t other) { return cardrec::same_card(quads[i], quads[other]); };
        if (std::none_of(kept.begin(), kept.end(), is_same)) kept.push_back(i);
    }
    return kept;
}

py::array_t<bool> sound(const Floats& quads, double least_area_px) {
    return each<bool>(quads_of(quads), [least_area_px](const Quad& quad) {
        return cardrec::sound(quad) && cardrec::area(quad) > least_area_px;
    });
}

}  // namespace

PYBIND11_MODULE(_detect, module) {
    module.doc() = "Outlines of cards: what the detector's networks say, and where in the frame to look.";
    module.def("propose", &propose, py::arg("cells"), py::arg("least"), py::arg("most"));
    module.def("surroundings", &surroundings, py::arg("quads"));
    module.def("corrected", &corrected, py::arg("around"), py::arg("said"));
    module.def("strips", &strips, py::arg("pixels"), py::arg("swap_rb"), py::arg("quads"));
    module.def("with_sides", &with_sides, py::arg("quads"), py::arg("said"));
    module.def("refined", &refined, py::arg("pixels"), py::arg("quads"), py::arg("reach_px") = py::none());
    module.def("moved", &moved, py::arg("quads"), py::arg("others"));
    module.def("sound", &sound, py::arg("quads"), py::arg("least_area_px") = 0.0);
    module.def(
        "areas", [](const Floats& quads) { return each<double>(quads_of(quads), cardrec::area); }, py::arg("quads"));
    module.def(
        "longest_sides", [](const Floats& quads) { return each<double>(quads_of(quads), cardrec::longest_side); },
        py::arg("quads"));
    module.def("distinct", &distinct, py::arg("quads"), py::arg("most"));
}
