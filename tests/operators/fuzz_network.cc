// Copyright (c) 2026 PaddlePaddle Authors. All Rights Reserved.
//
// Licensed under the Apache License, Version 2.0 (the "License");
// you may not use this file except in compliance with the License.
// You may obtain a copy of the License at
//
//     http://www.apache.org/licenses/LICENSE-2.0
//
// Unless required by applicable law or agreed to in writing, software
// distributed under the License is distributed on an "AS IS" BASIS,
// WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
// See the License for the specific language governing permissions and
// limitations under the License.

// Fuzzes networks: valid ones against a plain computation in double, and texts
// and sizes that are wrong, which must be refused or run within their memory.

#include <sstream>

#include "fuzz.h"
#include "network.h"

namespace {

using network::Dims;

// A value of a network. `at` is in the order N, C, H, W.
struct Map {
  Dims dims;
  bool rows;
  std::vector<double> at;

  size_t Index(int64_t n, int64_t c, int64_t h, int64_t w) const {
    return ((n * dims[1] + c) * dims[2] + h) * dims[3] + w;
  }
};

int64_t Count(const Dims& d) { return d[0] * d[1] * d[2] * d[3]; }

template <typename F>
Map Make(const Dims& dims, bool rows, const F& value) {
  Map made = {dims, rows, std::vector<double>(Count(dims))};
  for (int64_t n = 0, i = 0; n < dims[0]; ++n)
    for (int64_t c = 0; c < dims[1]; ++c)
      for (int64_t h = 0; h < dims[2]; ++h)
        for (int64_t w = 0; w < dims[3]; ++w, ++i)
          made.at[i] = value(n, c, h, w);
  return made;
}

// As the network's inputs and outputs lie: NCHW, or rows of channels.
std::vector<float> Flat(const Map& map) {
  std::vector<float> flat(map.at.size());
  if (!map.rows) {
    std::copy(map.at.begin(), map.at.end(), flat.begin());
    return flat;
  }
  size_t i = 0;
  for (int64_t n = 0; n < map.dims[0]; ++n)
    for (int64_t l = 0; l < map.dims[3]; ++l)
      for (int64_t c = 0; c < map.dims[1]; ++c)
        flat[i++] = map.at[map.Index(n, c, 0, l)];
  return flat;
}

double Apply(const std::string& name, double x, double alpha, double beta) {
  if (name == "relu") return x > 0 ? x : alpha * x;
  if (name == "sigmoid") return 1 / (1 + std::exp(-x));
  if (name == "swish") return x / (1 + std::exp(-alpha * x));
  if (name == "hard_sigmoid")
    return std::min(1., std::max(0., alpha * x + beta));
  if (name == "hard_swish")
    return x * std::min(1., std::max(0., alpha * x + beta));
  return alpha * x + beta;
}

struct Parameter {
  std::vector<int64_t> dims;
  std::vector<float> values;
};

// What a pooling or a convolution moves over a map.
struct Window {
  int64_t size[2] = {1, 1}, stride[2] = {1, 1};
  int64_t before[2] = {0, 0}, after[2] = {0, 0};

  void Draw(Fuzz* fuzz, int64_t widest_stride) {
    for (int i = 0; i < 2; ++i) {
      size[i] = fuzz->Int(1, 3);
      stride[i] = fuzz->Int(1, widest_stride);
      before[i] = fuzz->Int(0, size[i] - 1);
      after[i] = fuzz->Int(0, size[i] - 1);
    }
  }

  // Makes the size of a map that of the result; false if it is too small.
  bool Slide(Dims* dims) const {
    for (int i = 0; i < 2; ++i) {
      const int64_t left = (*dims)[2 + i] + before[i] + after[i] - size[i];
      if (left < 0) return false;
      (*dims)[2 + i] = left / stride[i] + 1;
    }
    return true;
  }

  // Calls f(place in the window, value) for what is within the map.
  template <typename F>
  void Over(const Map& map, int64_t n, int64_t c, int64_t h, int64_t w,
            const F& f) const {
    for (int64_t i = 0; i < size[0]; ++i) {
      for (int64_t j = 0; j < size[1]; ++j) {
        const int64_t y = h * stride[0] + i - before[0];
        const int64_t x = w * stride[1] + j - before[1];
        if (y < 0 || x < 0 || y >= map.dims[2] || x >= map.dims[3]) continue;
        f(i * size[1] + j, map.at[map.Index(n, c, y, x)]);
      }
    }
  }

  // STRIDES BEFORE AFTER.
  std::string Words() const {
    std::ostringstream words;
    for (const auto* two : {&stride, &before, &after})
      words << (*two)[0] << ' ' << (*two)[1] << ' ';
    return words.str();
  }
};

// A network that is written down and computed step by step.
class Writer {
 public:
  explicit Writer(Fuzz* fuzz) : fuzz_(fuzz) {
    for (int i = fuzz->Int(1, 3); i > 0; --i) Feed();
    for (int i = fuzz->Int(1, 8); i > 0; --i) {
      switch (fuzz->Int(0, 8)) {
        case 0:
          Move();
          break;
        case 1:
          Pool();
          break;
        case 2:
          Activation();
          break;
        case 3:
          Binary();
          break;
        case 4:
          Resize();
          break;
        case 5:
          Concat();
          break;
        case 6:
          Normalization();
          break;
        default:
          Layer();
      }
    }
    for (int i = fuzz->Int(1, 3); i > 0; --i) {
      outputs.push_back(Some());
      lines.push_back("out " + std::to_string(outputs.back()));
    }
  }

  std::vector<std::string> lines;
  std::vector<Map> values, inputs;
  std::vector<Parameter> parameters;
  std::vector<int> outputs;

 private:
  // A value that a step can read.
  int Some() { return fuzz_->Pick(readable_); }

  template <typename... Words>
  void Add(const Map& value, const std::string& kind, const Words&... words) {
    std::ostringstream line;
    line << kind << ' ' << values.size();
    using Expand = int[];
    (void)Expand{(line << ' ' << words, 0)...};
    lines.push_back(line.str());
    readable_.push_back(values.size());
    values.push_back(value);
  }

  Map Drawn(const Dims& dims, bool rows) {
    return Make(dims, rows, [&](int64_t, int64_t, int64_t, int64_t) {
      return fuzz_->Uniform(-2, 2);
    });
  }

  int Draw(const std::vector<int64_t>& dims) {
    int64_t count = 1;
    for (const int64_t side : dims) count *= side;
    parameters.push_back({dims, fuzz_->Array(count, -1, 1)});
    return parameters.size() - 1;
  }

  void Feed() {
    const bool rows = fuzz_->Int(0, 2) == 0;
    Dims dims = {fuzz_->Int(1, 2), fuzz_->Int(1, 5), 1, fuzz_->Int(1, 7)};
    if (!rows) dims[2] = fuzz_->Int(1, 7);
    inputs.push_back(Drawn(dims, rows));
    Add(inputs.back(), "feed");
    if (rows) return;
    // NCHW is read by nothing else.
    const int from = readable_.back();
    readable_.pop_back();
    Add(inputs.back(), "move", from, "f32", 1, 0);
  }

  void Move() {
    const int from = Some();
    const Map map = values[from];
    Add(map, "move", from, "f32", 1, 0);
  }

  void Activation() {
    const int from = Some();
    const std::string name = fuzz_->Pick<std::string>(
        {"relu", "sigmoid", "swish", "hard_sigmoid", "hard_swish", "linear"});
    const float alpha = name == "relu" ? 0 : fuzz_->Uniform(0.1, 1);
    const float beta = fuzz_->Uniform(-1, 1);
    Map made = values[from];
    for (double& x : made.at) x = Apply(name, x, alpha, beta);
    Add(made, "act", from, name, alpha, beta);
  }

  void Pool() {
    const int from = Some();
    const Map map = values[from];
    if (map.rows) return;
    const std::string name =
        fuzz_->Pick<std::string>({"max", "mean", "mean_with_padding"});
    Window window;
    const bool whole = fuzz_->Int(0, 3) == 0;
    Dims dims = map.dims;
    if (whole)
      std::copy(dims.begin() + 2, dims.end(), window.size);
    else
      window.Draw(fuzz_, 3);
    if (!window.Slide(&dims)) return;
    const Map made =
        Make(dims, false, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
          double sum = 0, most = -INFINITY;
          int count = 0;
          window.Over(map, n, c, h, w, [&](int64_t, double value) {
            sum += value;
            most = std::max(most, value);
            ++count;
          });
          if (name == "max") return most;
          return sum /
                 (name == "mean" ? count : window.size[0] * window.size[1]);
        });
    // A window within the padding alone has no value.
    for (const double x : made.at)
      if (!std::isfinite(x)) return;
    Add(made, "pool", from, name, whole ? 0 : window.size[0],
        whole ? 0 : window.size[1], window.Words());
  }

  void Binary() {
    const int from = Some(), other = Some();
    const Map a = values[from], b = values[other];
    if (a.rows != b.rows) return;
    for (int i = 0; i < 4; ++i)
      if (b.dims[i] != a.dims[i] && b.dims[i] != 1) return;
    const bool add = fuzz_->Coin();
    Map made =
        Make(a.dims, a.rows, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
          const double x = a.at[a.Index(n, c, h, w)];
          const double y = b.at[b.Index(n % b.dims[0], c % b.dims[1],
                                        h % b.dims[2], w % b.dims[3])];
          return add ? x + y : x * y;
        });
    const std::string then = Then(&made);
    Add(made, "binary", from, other, add ? "add" : "mul", "f32", 1, 0, then);
  }

  void Resize() {
    const int from = Some();
    const Map map = values[from];
    if (map.rows || Count(map.dims) > 500) return;
    const int64_t y = fuzz_->Int(1, 3), x = fuzz_->Int(1, 3);
    Dims dims = map.dims;
    dims[2] *= y;
    dims[3] *= x;
    Add(Make(dims, false,
             [&](int64_t n, int64_t c, int64_t h, int64_t w) {
               return map.at[map.Index(n, c, h / y, w / x)];
             }),
        "resize", from, y, x);
  }

  void Concat() {
    const int first = Some();
    const Map like = values[first];
    if (like.rows) return;
    std::vector<int> from = {first};
    for (int i = fuzz_->Int(0, 2); i > 0; --i) {
      const int one = Some();
      const Dims& d = values[one].dims;
      if (!values[one].rows && d[0] == like.dims[0] && d[2] == like.dims[2] &&
          d[3] == like.dims[3])
        from.push_back(one);
    }
    Dims dims = like.dims;
    dims[1] = 0;
    std::vector<std::pair<int, int64_t>> channels;
    std::string words = std::to_string(from.size());
    for (const int one : from) {
      for (int64_t c = 0; c < values[one].dims[1]; ++c)
        channels.push_back({one, c});
      dims[1] += values[one].dims[1];
      words += ' ' + std::to_string(one);
    }
    Add(Make(dims, false,
             [&](int64_t n, int64_t c, int64_t h, int64_t w) {
               const Map& map = values[channels[c].first];
               return map.at[map.Index(n, channels[c].second, h, w)];
             }),
        "concat", words);
  }

  void Normalization() {
    const int from = Some();
    const Map map = values[from];
    if (!map.rows || map.dims[1] < 2) return;
    const int gamma = Draw({map.dims[1]}), beta = Draw({map.dims[1]});
    const Map made =
        Make(map.dims, true, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
          double mean = 0, square = 0;
          for (int64_t i = 0; i < map.dims[1]; ++i)
            mean += map.at[map.Index(n, i, h, w)] / map.dims[1];
          for (int64_t i = 0; i < map.dims[1]; ++i)
            square +=
                std::pow(map.at[map.Index(n, i, h, w)] - mean, 2) / map.dims[1];
          return (map.at[map.Index(n, c, h, w)] - mean) /
                     std::sqrt(square + 0.1) * parameters[gamma].values[c] +
                 parameters[beta].values[c];
        });
    Add(made, "norm", from, gamma, beta, 0.1);
  }

  // A convolution, or a linear layer of rows.
  void Layer() {
    const int from = Some();
    const Map map = values[from];
    const int64_t in = map.dims[1];
    int64_t groups = 1;
    Window window;
    Dims dims = {map.dims[0], fuzz_->Int(1, 6), map.dims[2], map.dims[3]};
    if (!map.rows) {
      if (fuzz_->Int(0, 2) == 0) {
        groups = in;
        dims[1] = in * fuzz_->Int(1, 2);
      }
      window.Draw(fuzz_, 2);
      if (!window.Slide(&dims)) return;
    }
    const int64_t out = dims[1], each = in / groups;
    const int64_t taps = window.size[0] * window.size[1];
    const int weight = map.rows
                           ? Draw({out, in})
                           : Draw({out, each, window.size[0], window.size[1]});
    const int bias = Draw({out});
    Map made =
        Make(dims, map.rows, [&](int64_t n, int64_t c, int64_t h, int64_t w) {
          double sum = parameters[bias].values[c];
          for (int64_t k = 0; k < each; ++k) {
            const float* own =
                &parameters[weight].values[(c * each + k) * taps];
            window.Over(map, n, c / (out / groups) * each + k, h, w,
                        [&](int64_t tap, double value) {
                          sum += static_cast<double>(own[tap]) * value;
                        });
          }
          return sum;
        });
    const std::string then = Then(&made);
    if (map.rows)
      Add(made, "linear", from, "f32", 1, 0, weight, bias, -1, then);
    else
      Add(made, "conv", from, "f32", 1, 0, weight, bias, -1, groups,
          window.Words(), then);
  }

  // What follows a step, applied to its result.
  std::string Then(Map* map) {
    std::string words;
    int count = 0;
    if (fuzz_->Coin()) {
      const float slope = fuzz_->Uniform(0, 0.5);
      for (double& x : map->at) x = Apply("relu", x, slope, 0);
      words += " relu " + std::to_string(slope) + " 0";
      ++count;
    }
    if (fuzz_->Coin()) {
      const int other = Some();
      const Map& more = values[other];
      if (more.dims == map->dims && more.rows == map->rows) {
        const bool add = fuzz_->Coin();
        for (size_t i = 0; i < map->at.size(); ++i)
          map->at[i] = add ? map->at[i] + more.at[i] : map->at[i] * more.at[i];
        words += (add ? " add " : " mul ") + std::to_string(other);
        ++count;
      }
    }
    return std::to_string(count) + words;
  }

  Fuzz* fuzz_;
  std::vector<int> readable_;
};

// Makes a network and runs it twice; what it gave, as its outputs lie.
std::vector<std::vector<float>> Run(const std::vector<std::string>& lines,
                                    const std::vector<network::Input>& sizes,
                                    const std::vector<Parameter>& parameters,
                                    const std::vector<Map>& inputs) {
  std::string text;
  for (const std::string& line : lines) text += line + '\n';
  std::vector<network::Parameter> given;
  for (const Parameter& one : parameters)
    given.push_back({one.values.data(), one.dims, onednn::kF32});
  network::Network made(text, sizes, given);
  std::vector<std::vector<float>> feeds, results;
  std::vector<const float*> from;
  for (size_t i = 0; i < sizes.size(); ++i) {
    feeds.push_back(Flat(inputs[i]));
    feeds.back().resize(Count(sizes[i].dims), 0.5f);
  }
  for (const auto& feed : feeds) from.push_back(feed.data());
  for (const auto& shape : made.outputs()) {
    int64_t count = 1;
    for (const int64_t side : shape) count *= side;
    results.emplace_back(count, NAN);
  }
  for (int run = 0; run < 2; ++run) {
    std::vector<float*> to;
    for (auto& result : results) to.push_back(result.data());
    made.Run(from, to);
  }
  return results;
}

std::vector<network::Input> SizesOf(const std::vector<Map>& inputs) {
  std::vector<network::Input> sizes;
  for (const Map& one : inputs) sizes.push_back({one.dims, one.rows});
  return sizes;
}

void CheckValues(Fuzz* fuzz) {
  const Writer written(fuzz);
  const auto found = Run(written.lines, SizesOf(written.inputs),
                         written.parameters, written.inputs);
  for (size_t i = 0; i < found.size(); ++i) {
    const std::vector<float> wanted = Flat(written.values[written.outputs[i]]);
    if (found[i].size() != wanted.size()) Fail("size of an output");
    double size = 1;
    for (const float x : wanted) size = std::max<double>(size, std::fabs(x));
    for (size_t j = 0; j < wanted.size(); ++j)
      CheckNear(found[i][j], wanted[j], size, written.lines.back());
  }
}

// Integers are what they should be, at the least and the largest too.
void CheckIntegers(Fuzz* fuzz) {
  const Map map = {{1, fuzz->Int(1, 40), 1, fuzz->Int(1, 5)}, false, {}};
  Map input = Make(map.dims, false, [&](int64_t, int64_t, int64_t, int64_t) {
    return fuzz->Uniform(-10, 10);
  });
  const bool sign = fuzz->Coin();
  const float scale = fuzz->Uniform(1, 40);
  const int shift = fuzz->Int(0, sign ? 0 : 100);
  std::ostringstream move;
  move << "move 1 0 " << (sign ? "s8 " : "u8 ") << scale << ' ' << shift;
  const auto found =
      Run({"feed 0", move.str(), "out 1"}, SizesOf({input}), {}, {input});
  for (size_t i = 0; i < input.at.size(); ++i) {
    const double x =
        static_cast<float>(input.at[i]) * static_cast<double>(scale) + shift;
    const double wanted =
        std::min(sign ? 127. : 255., std::max(sign ? -128. : 0., x));
    if (std::fabs(found[0][i] - wanted) > 0.501) Fail("an integer");
  }
}

// One that is wrong somewhere, or happens to be right.
bool Refused(Fuzz* fuzz) {
  Writer written(fuzz);
  auto sizes = SizesOf(written.inputs);
  const auto number = [&] {
    return fuzz->Pick<std::string>(
        {"-1",    "0",          "1",          "2",
         "3",     "7",          "-3",         "1000",
         "65536", "2147483647", "4294967296", "9223372036854775807",
         "1e30",  "nan",        "x",          "",
         "0.3",   "u8",         "s8",         "bf16",
         "add"});
  };
  for (int i = fuzz->Int(1, 2); i > 0; --i) {
    const int at = fuzz->Int(0, written.lines.size() - 1);
    std::string& line = written.lines[at];
    switch (fuzz->Int(0, 6)) {
      case 0:
        written.lines.erase(written.lines.begin() + at);
        if (written.lines.empty()) written.lines.push_back("");
        break;
      case 1:
        written.lines.insert(written.lines.begin() + at, line);
        break;
      case 2:
        std::swap(line, written.lines[fuzz->Int(0, written.lines.size() - 1)]);
        break;
      case 3:
        if (!written.parameters.empty()) {
          auto& one =
              written.parameters[fuzz->Int(0, written.parameters.size() - 1)];
          one.dims[fuzz->Int(0, one.dims.size() - 1)] += fuzz->Int(1, 3);
          int64_t count = 1;
          for (const int64_t side : one.dims) count *= side;
          one.values.resize(count, 1);
        }
        break;
      case 4:
        sizes[fuzz->Int(0, sizes.size() - 1)].dims[fuzz->Int(0, 3)] =
            fuzz->Int(0, 9);
        break;
      default: {
        std::istringstream words(line);
        std::vector<std::string> all;
        for (std::string word; words >> word;) all.push_back(word);
        if (all.empty()) break;
        all[fuzz->Int(0, all.size() - 1)] = number();
        line.clear();
        for (const std::string& word : all) line += word + ' ';
      }
    }
  }
  try {
    Run(written.lines, sizes, written.parameters, written.inputs);
  } catch (const std::exception&) {
    return true;
  }
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 100;
  int refused = 0;
  for (int seed = 0; seed < rounds; ++seed) {
    Fuzz fuzz(seed);
    CheckValues(&fuzz);
    CheckIntegers(&fuzz);
    for (int i = 0; i < 10; ++i) refused += Refused(&fuzz);
  }
  if (!refused) Fail("nothing was refused");
  std::printf("networks: %d right ones, %d of %d others refused\n", rounds,
              refused, 10 * rounds);
  return 0;
}
