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

// Runs a network of convolutions and what lies between them by oneDNN's
// primitives, without Paddle. Activations are NHWC throughout, the layout of
// oneDNN's fast convolutions, and stay in the type that their readers take;
// nothing is looked up or allocated between primitives.
//
// A network is a text, one step a line, written by act/program/network.py,
// which documents it.

#ifndef DEPLOY_AUTO_COMPRESSION_OPS_NETWORK_H_
#define DEPLOY_AUTO_COMPRESSION_OPS_NETWORK_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "onednn_api.h"

namespace network {

// N, C, H, W. Rows of C channels, [N, L, C], are maps of 1 x L, which lie alike
// in memory.
using Dims = std::array<int64_t, 4>;

constexpr int64_t kMostSide = 1 << 15;
constexpr int64_t kMostValues = int64_t{1} << 31;  // of a map

struct Input {
  Dims dims;
  bool rows;
  bool operator==(const Input& other) const {
    return dims == other.dims && rows == other.rows;
  }
};

inline void Check(int status, const char* what) {
  if (status)
    throw std::runtime_error(std::string("oneDNN cannot make ") + what +
                             ", status " + std::to_string(status));
}

struct Destroy {
  void operator()(dnnl_stream* p) { dnnl_stream_destroy(p); }
  void operator()(dnnl_memory_desc* p) { dnnl_memory_desc_destroy(p); }
  void operator()(dnnl_memory* p) { dnnl_memory_destroy(p); }
  void operator()(dnnl_primitive* p) { dnnl_primitive_destroy(p); }
  void operator()(dnnl_primitive_desc* p) { dnnl_primitive_desc_destroy(p); }
  void operator()(dnnl_primitive_attr* p) { dnnl_primitive_attr_destroy(p); }
  void operator()(dnnl_post_ops* p) { dnnl_post_ops_destroy(p); }
  void operator()(void* p) { free(p); }
};
template <typename T>
using Own = std::unique_ptr<T, Destroy>;

inline Own<void> Allocate(size_t bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, std::max<size_t>(bytes, 64)))
    throw std::bad_alloc();
  return Own<void>(memory);
}

// One for all networks of the process: they hold no state.
inline dnnl_engine* Engine() {
  static dnnl_engine* engine = [] {
    if (dnnl_version()->major != onednn::kMajor)
      throw std::runtime_error("this oneDNN is not of version 3");
    dnnl_engine* made = nullptr;
    Check(dnnl_engine_create(&made, onednn::kCpu, 0), "an engine");
    return made;
  }();
  return engine;
}

inline Own<dnnl_memory_desc> Describe(const std::vector<int64_t>& dims,
                                      int type,
                                      const std::vector<int64_t>& strides) {
  dnnl_memory_desc* made = nullptr;
  Check(dnnl_memory_desc_create_with_strides(&made, dims.size(), dims.data(),
                                             type, strides.data()),
        "a description");
  return Own<dnnl_memory_desc>(made);
}

// Dense, the last axis innermost.
inline Own<dnnl_memory_desc> Plain(const std::vector<int64_t>& dims, int type) {
  std::vector<int64_t> strides(dims.size(), 1);
  for (int i = static_cast<int>(dims.size()) - 2; i >= 0; --i)
    strides[i] = strides[i + 1] * dims[i + 1];
  return Describe(dims, type, strides);
}

inline Own<dnnl_memory_desc> Nhwc(const Dims& d, int type) {
  return Describe({d[0], d[1], d[2], d[3]}, type,
                  {d[1] * d[2] * d[3], 1, d[1] * d[3], d[1]});
}

// A parameter of the network: float or int8, dense.
struct Parameter {
  const void* data;
  std::vector<int64_t> dims;
  int type;
};

class Network {
 public:
  // Reads a text and makes the primitives for inputs of these sizes. The
  // parameters are copied.
  Network(const std::string& text, const std::vector<Input>& inputs,
          const std::vector<Parameter>& parameters)
      : inputs_(inputs), parameters_(parameters) {
    dnnl_stream* stream = nullptr;
    Check(dnnl_stream_create(&stream, Engine(), onednn::kDefaultStream),
          "a stream");
    stream_.reset(stream);
    std::istringstream lines(text);
    std::string line;
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::string kind;
      words >> kind;
      try {
        Read(kind, words);
      } catch (const std::runtime_error& e) {
        throw std::runtime_error(std::string(e.what()) + ", in step: " + line);
      }
    }
    if (feeds_.size() < inputs_.size())
      throw std::runtime_error("more inputs than feeds");
    Place();
    parameters_.clear();
  }

  // Shapes, [N, C, H, W] or [N, L, C].
  const std::vector<std::vector<int64_t>>& outputs() const { return outputs_; }

  // inputs, outputs: dense float, memory of the caller's.
  void Run(const std::vector<const float*>& inputs,
           const std::vector<float*>& outputs) {
    for (size_t i = 0; i < inputs.size(); ++i)
      dnnl_memory_set_data_handle(feeds_[i], const_cast<float*>(inputs[i]));
    for (size_t i = 0; i < outputs.size(); ++i)
      dnnl_memory_set_data_handle(results_[i], outputs[i]);
    for (const Step& step : steps_)
      Check(
          dnnl_primitive_execute(step.primitive.get(), stream_.get(),
                                 step.arguments.size(), step.arguments.data()),
          "a step run");
    dnnl_stream_wait(stream_.get());
  }

 private:
  struct Value {
    Dims dims{};
    int type = onednn::kF32;
    bool rows = false;
    Own<dnnl_memory_desc> desc;
    Own<dnnl_memory> memory;
    int first = 0, last = 0;  // steps that write and read it
    bool placed = true;       // has memory from the arena
  };

  struct Step {
    Own<dnnl_primitive> primitive;
    std::vector<dnnl_exec_arg_t> arguments;
  };

  // TYPE SCALE SHIFT.
  struct Form {
    int type;
    float scale, shift;
    bool quantized() const {
      return type == onednn::kU8 || type == onednn::kS8;
    }
  };

  // How a layer with weights begins. `scales` is the number of a parameter, -1
  // for none.
  struct Layer {
    int id, from;
    Form form;
    const Parameter& weight;
    const Parameter& bias;
    int scales;
  };

  // What follows the main part of a primitive, see ReadPostOperations.
  struct PostOperations {
    Own<dnnl_post_ops> operations;
    std::vector<std::pair<int, int>> sources;  // argument, value
  };

  template <typename T>
  static T Next(std::istringstream& words) {
    T value{};
    if (!(words >> value)) throw std::runtime_error("a word is missing");
    return value;
  }

  // Beyond these no map has strides, borders or factors, and sizes that are
  // computed from them cannot overflow.
  template <typename T>
  static T NextWithin(std::istringstream& words, T least, T most) {
    const T value = Next<T>(words);
    if (!(least <= value && value <= most))
      throw std::runtime_error("a number is out of range");
    return value;
  }

  // A pair for height and width.
  static void NextPair(std::istringstream& words, int64_t least, int64_t* two) {
    for (int i = 0; i < 2; ++i)
      two[i] = NextWithin<int64_t>(words, least, kMostSide);
  }

  static int TypeOf(const std::string& name) {
    if (name == "f32") return onednn::kF32;
    if (name == "bf16") return onednn::kBf16;
    if (name == "u8") return onednn::kU8;
    if (name == "s8") return onednn::kS8;
    throw std::runtime_error("unknown type " + name);
  }

  static int AlgorithmOf(const std::string& name) {
    static const std::vector<std::pair<const char*, int>> known = {
        {"relu", onednn::kRelu},
        {"sqrt", onednn::kSqrt},
        {"linear", onednn::kLinear},
        {"hard_sigmoid", onednn::kHardSigmoid},
        {"sigmoid", onednn::kSigmoid},
        {"swish", onednn::kSwish},
        {"gelu", onednn::kGelu},
        {"hard_swish", onednn::kHardSwish},
        {"max", onednn::kMaximum},
        {"mean", onednn::kMean},
        {"mean_with_padding", onednn::kMeanWithPadding},
        {"add", onednn::kAdd},
        {"mul", onednn::kMultiply}};
    for (const auto& one : known)
      if (name == one.first) return one.second;
    throw std::runtime_error("unknown algorithm " + name);
  }

  Value& Make(int id, Dims dims, int type, bool rows) {
    if (static_cast<size_t>(id) != values_.size())
      throw std::runtime_error("values are not numbered in order");
    int64_t count = 1;
    for (const int64_t side : dims) {
      if (side < 1) throw std::runtime_error("an image is too small");
      if (side > kMostValues / count)
        throw std::runtime_error("an image is too large");
      count *= side;
    }
    values_.emplace_back();
    Value& value = values_.back();
    value.dims = dims;
    value.type = type;
    value.rows = rows;
    value.desc =
        rows ? Plain({dims[0], dims[3], dims[1]}, type) : Nhwc(dims, type);
    value.first = value.last = steps_.size();
    value.memory = Unplaced(value.desc.get());
    return value;
  }

  static Own<dnnl_memory> Unplaced(const dnnl_memory_desc* desc) {
    dnnl_memory* made = nullptr;
    Check(dnnl_memory_create(&made, desc, Engine(), nullptr), "a memory");
    return Own<dnnl_memory>(made);
  }

  static Form ReadForm(std::istringstream& words) {
    const int type = TypeOf(Next<std::string>(words));
    const float scale = Next<float>(words);
    return {type, scale, NextWithin<float>(words, -255, 255)};
  }

  Layer ReadLayer(std::istringstream& words) {
    const int id = Next<int>(words), from = Next<int>(words);
    const Form form = ReadForm(words);
    const Parameter& weight = ParameterAt(Next<int>(words));
    const Parameter& bias = ParameterAt(Next<int>(words));
    return {id, from, form, weight, bias, Next<int>(words)};
  }

  Value& At(int id) {
    if (id < 0 || static_cast<size_t>(id) >= values_.size())
      throw std::runtime_error("no such value");
    return values_[id];
  }

  const Parameter& ParameterAt(int id) {
    if (id < 0 || static_cast<size_t>(id) >= parameters_.size())
      throw std::runtime_error("no such parameter");
    return parameters_[id];
  }

  dnnl_exec_arg_t Argument(int what, int id) {
    At(id).last = steps_.size();
    return {what, At(id).memory.get()};
  }

  void Finish(dnnl_primitive_desc* made,
              std::vector<dnnl_exec_arg_t> arguments) {
    Own<dnnl_primitive_desc> description(made);
    dnnl_primitive* primitive = nullptr;
    Check(dnnl_primitive_create(&primitive, made), "a primitive");
    steps_.emplace_back();
    steps_.back().primitive.reset(primitive);
    steps_.back().arguments = std::move(arguments);
  }

  static Own<dnnl_primitive_attr> Attributes(const dnnl_post_ops* operations) {
    dnnl_primitive_attr* made = nullptr;
    Check(dnnl_primitive_attr_create(&made), "attributes");
    Own<dnnl_primitive_attr> attributes(made);
    if (operations)
      Check(dnnl_primitive_attr_set_post_ops(made, operations), "attributes");
    return attributes;
  }

  // `count`, then that many of `ALGORITHM ALPHA BETA`, `add VALUE` and
  // `mul VALUE`; at last, for a quantized result, its scale and shift.
  //
  // flat: the shape of the result, if it is not that of its value.
  PostOperations ReadPostOperations(std::istringstream& words, const Form& form,
                                    const std::vector<int64_t>& flat = {}) {
    PostOperations read;
    dnnl_post_ops* made = nullptr;
    Check(dnnl_post_ops_create(&made), "post-operations");
    read.operations.reset(made);
    const int count = Next<int>(words);
    for (int i = 0; i < count; ++i) {
      const std::string name = Next<std::string>(words);
      const int algorithm = AlgorithmOf(name);
      if (name == "add" || name == "mul") {
        const int id = Next<int>(words);
        Own<dnnl_memory_desc> other = Clone(At(id).desc.get());
        if (!flat.empty()) {
          const Dims& d = At(id).dims;
          if (d[0] * d[3] != flat[0] || d[1] != flat[1])
            throw std::runtime_error("sizes do not fit");
          other = Plain(flat, At(id).type);
        }
        Check(dnnl_post_ops_append_binary(made, algorithm, other.get()),
              "a post-operation");
        read.sources.push_back(
            {onednn::kPostOperation * (i + 1) | onednn::kSource1, id});
      } else {
        const float alpha = Next<float>(words), beta = Next<float>(words);
        Check(dnnl_post_ops_append_eltwise(made, algorithm, alpha, beta),
              "a post-operation");
      }
    }
    if (form.quantized())
      Check(dnnl_post_ops_append_eltwise(made, onednn::kLinear, form.scale,
                                         form.shift),
            "a post-operation");
    return read;
  }

  void Read(const std::string& kind, std::istringstream& words) {
    if (kind == "parameters") return;  // what tells networks apart
    if (kind == "feed") return Feed(words);
    if (kind == "move") return Move(words);
    if (kind == "conv") return Convolution(words);
    if (kind == "linear") return Linear(words);
    if (kind == "norm") return Normalization(words);
    if (kind == "pool") return Pooling(words);
    if (kind == "act") return Activation(words);
    if (kind == "binary") return Binary(words);
    if (kind == "resize") return Resize(words);
    if (kind == "concat") return Concat(words);
    if (kind == "out") return Output(words);
    throw std::runtime_error("unknown kind of step");
  }

  void Feed(std::istringstream& words) {
    const int id = Next<int>(words);
    if (feeds_.size() >= inputs_.size())
      throw std::runtime_error("more feeds than inputs");
    const Input& input = inputs_[feeds_.size()];
    const Dims d = input.dims;
    Value& value = Make(id, d, onednn::kF32, input.rows);
    if (!input.rows) {
      value.desc = Plain({d[0], d[1], d[2], d[3]}, onednn::kF32);
      value.memory = Unplaced(value.desc.get());
    }
    value.placed = false;
    feeds_.push_back(value.memory.get());
  }

  void Move(std::istringstream& words) {
    const int id = Next<int>(words), from = Next<int>(words);
    const Form form = ReadForm(words);
    const Value& value = Make(id, At(from).dims, form.type, At(from).rows);
    Own<dnnl_primitive_attr> attributes = Attributes(nullptr);
    std::vector<dnnl_exec_arg_t> arguments = {Argument(onednn::kSource, from),
                                              Argument(onednn::kResult, id)};
    if (form.quantized()) {
      Check(dnnl_primitive_attr_set_scales_mask(attributes.get(),
                                                onednn::kSource, 0),
            "attributes");
      arguments.push_back(
          {onednn::kScales | onednn::kSource,
           Constant(std::vector<float>{form.scale}, onednn::kF32)});
    }
    if (form.quantized() && form.shift != 0) {
      Check(dnnl_primitive_attr_set_zero_points_mask(attributes.get(),
                                                     onednn::kResult, 0),
            "attributes");
      arguments.push_back(
          {onednn::kZeroPoints | onednn::kResult,
           Constant(std::vector<int32_t>{static_cast<int32_t>(form.shift)},
                    onednn::kS32)});
    }
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_reorder_primitive_desc_create(&made, At(from).desc.get(),
                                             Engine(), value.desc.get(),
                                             Engine(), attributes.get()),
          "a reorder");
    Finish(made, std::move(arguments));
  }

  void Convolution(std::istringstream& words) {
    const Layer layer = ReadLayer(words);
    const int64_t groups = Next<int64_t>(words);
    dnnl_dims_t strides, before, after, dilates = {0, 0};
    NextPair(words, 1, strides);
    NextPair(words, 0, before);
    NextPair(words, 0, after);
    const PostOperations then = ReadPostOperations(words, layer.form);

    const Value& source = At(layer.from);
    const auto& w = layer.weight.dims;  // O, I / groups, height, width
    if (w.size() != 4 || groups < 1 || w[0] % groups || groups > w[0] ||
        w[1] * groups != source.dims[1] || Count(layer.bias.dims) != w[0])
      throw std::runtime_error("weights do not fit");
    Dims dims = {source.dims[0], w[0], 0, 0};
    for (int i = 0; i < 2; ++i)
      dims[2 + i] =
          (source.dims[2 + i] + before[i] + after[i] - w[2 + i]) / strides[i] +
          1;
    const Own<dnnl_memory_desc> from_desc = Clone(source.desc.get());
    std::vector<int64_t> shape = w;
    if (groups > 1) shape = {groups, w[0] / groups, w[1], w[2], w[3]};
    const Own<dnnl_memory_desc> weight_desc =
        AnyLayout(shape, WeightType(At(layer.from).type));
    const Own<dnnl_memory_desc> bias_desc = Plain({w[0]}, onednn::kF32);
    const Own<dnnl_primitive_attr> attributes =
        Attributes(then.operations.get());
    if (layer.scales >= 0)
      Check(dnnl_primitive_attr_set_scales_mask(
                attributes.get(), onednn::kWeights, groups > 1 ? 3 : 1),
            "attributes");
    const Value& value = Make(layer.id, dims, layer.form.type, false);
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_convolution_forward_primitive_desc_create(
              &made, Engine(), onednn::kForwardInference, onednn::kConvolution,
              from_desc.get(), weight_desc.get(), bias_desc.get(),
              value.desc.get(), strides, dilates, before, after,
              attributes.get()),
          "a convolution");
    Weighted(made, layer, shape, then);
  }

  void Linear(std::istringstream& words) {
    const Layer layer = ReadLayer(words);
    const Dims d = At(layer.from).dims;
    const int64_t rows = d[0] * d[3];
    const auto& w = layer.weight.dims;  // outputs, inputs
    if (!At(layer.from).rows || w.size() != 2 || w[1] != d[1] ||
        Count(layer.bias.dims) != w[0])
      throw std::runtime_error("weights do not fit");
    const PostOperations then =
        ReadPostOperations(words, layer.form, {rows, w[0]});
    const Own<dnnl_primitive_attr> attributes =
        Attributes(then.operations.get());
    if (layer.scales >= 0)
      Check(dnnl_primitive_attr_set_scales_mask(attributes.get(),
                                                onednn::kWeights, 1),
            "attributes");
    const int source_type = At(layer.from).type;
    Make(layer.id, {d[0], w[0], 1, d[3]}, layer.form.type, true);
    const Own<dnnl_memory_desc> source = Plain({rows, d[1]}, source_type);
    const Own<dnnl_memory_desc> result = Plain({rows, w[0]}, layer.form.type);
    const Own<dnnl_memory_desc> bias_desc = Plain({w[0]}, onednn::kF32);
    const Own<dnnl_memory_desc> weight_desc =
        AnyLayout(w, WeightType(source_type));
    dnnl_primitive_desc* made = nullptr;
    Check(
        dnnl_inner_product_forward_primitive_desc_create(
            &made, Engine(), onednn::kForwardInference, source.get(),
            weight_desc.get(), bias_desc.get(), result.get(), attributes.get()),
        "a linear layer");
    Weighted(made, layer, w, then);
  }

  // The type of weights for a source of this one.
  static int WeightType(int source) {
    return source == onednn::kF32 || source == onednn::kBf16 ? source
                                                             : onednn::kS8;
  }

  static Own<dnnl_memory_desc> AnyLayout(const std::vector<int64_t>& dims,
                                         int type) {
    dnnl_memory_desc* made = nullptr;
    Check(dnnl_memory_desc_create_with_tag(&made, dims.size(), dims.data(),
                                           type, onednn::kAnyLayout),
          "a description");
    return Own<dnnl_memory_desc>(made);
  }

  // Ends a step that has weights, of this shape.
  void Weighted(dnnl_primitive_desc* made, const Layer& layer,
                const std::vector<int64_t>& shape, const PostOperations& then) {
    Own<dnnl_primitive_desc> description(made);  // what follows may throw
    const int64_t channels = Count(layer.bias.dims);
    std::vector<dnnl_exec_arg_t> arguments = {
        Argument(onednn::kSource, layer.from),
        Argument(onednn::kResult, layer.id),
        {onednn::kWeights, Rearranged(layer.weight, shape,
                                      dnnl_primitive_desc_query_md(
                                          made, onednn::kQueryWeights, 0))},
        {onednn::kBias, Copied(layer.bias, {channels})}};
    if (layer.scales >= 0)
      arguments.push_back({onednn::kScales | onednn::kWeights,
                           Copied(ParameterAt(layer.scales), {channels})});
    for (const auto& one : then.sources)
      arguments.push_back(Argument(one.first, one.second));
    Finish(description.release(), std::move(arguments));
  }

  void Normalization(std::istringstream& words) {
    const int id = Next<int>(words), from = Next<int>(words);
    const Parameter& scale = ParameterAt(Next<int>(words));
    const Parameter& shift = ParameterAt(Next<int>(words));
    const float epsilon = Next<float>(words);
    const Dims d = At(from).dims;
    if (!At(from).rows) throw std::runtime_error("it takes rows");
    dnnl_memory* gamma = Copied(scale, {d[1]});
    dnnl_memory* beta = Copied(shift, {d[1]});
    const Value& value = Make(id, d, At(from).type, true);
    const Own<dnnl_memory_desc> statistics = Plain({d[0], d[3]}, onednn::kF32);
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_layer_normalization_forward_primitive_desc_create(
              &made, Engine(), onednn::kForwardInference, At(from).desc.get(),
              value.desc.get(), statistics.get(), epsilon,
              onednn::kUseScaleAndShift, nullptr),
          "a normalization");
    Finish(made, {Argument(onednn::kSource, from),
                  Argument(onednn::kResult, id),
                  {onednn::kScale, gamma},
                  {onednn::kShift, beta}});
  }

  void Pooling(std::istringstream& words) {
    const int id = Next<int>(words), from = Next<int>(words);
    const int algorithm = AlgorithmOf(Next<std::string>(words));
    dnnl_dims_t kernel, strides, before, after, dilation = {0, 0};
    NextPair(words, 0, kernel);
    NextPair(words, 1, strides);
    NextPair(words, 0, before);
    NextPair(words, 0, after);
    Dims dims = At(from).dims;
    for (int i = 0; i < 2; ++i) {
      if (kernel[i] == 0) {  // all of it
        kernel[i] = dims[2 + i];
        strides[i] = 1;
      }
      dims[2 + i] =
          (dims[2 + i] + before[i] + after[i] - kernel[i]) / strides[i] + 1;
    }
    const int type = At(from).type;
    const Value& value = Make(id, dims, type, false);
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_pooling_forward_primitive_desc_create(
              &made, Engine(), onednn::kForwardInference, algorithm,
              At(from).desc.get(), value.desc.get(), strides, kernel, dilation,
              before, after, nullptr),
          "a pooling");
    Finish(made,
           {Argument(onednn::kSource, from), Argument(onednn::kResult, id)});
  }

  void Activation(std::istringstream& words) {
    const int id = Next<int>(words), from = Next<int>(words);
    const int algorithm = AlgorithmOf(Next<std::string>(words));
    const float alpha = Next<float>(words), beta = Next<float>(words);
    const Value& value = Make(id, At(from).dims, At(from).type, At(from).rows);
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_eltwise_forward_primitive_desc_create(
              &made, Engine(), onednn::kForwardInference, algorithm,
              At(from).desc.get(), value.desc.get(), alpha, beta, nullptr),
          "an activation");
    Finish(made,
           {Argument(onednn::kSource, from), Argument(onednn::kResult, id)});
  }

  void Binary(std::istringstream& words) {
    const int id = Next<int>(words), from = Next<int>(words),
              other = Next<int>(words);
    const int algorithm = AlgorithmOf(Next<std::string>(words));
    const Form form = ReadForm(words);
    const PostOperations then = ReadPostOperations(words, form);
    for (int i = 0; i < 4; ++i)
      if (At(other).dims[i] != At(from).dims[i] && At(other).dims[i] != 1)
        throw std::runtime_error("sizes do not fit");
    const Own<dnnl_primitive_attr> attributes =
        Attributes(then.operations.get());
    const Value& value = Make(id, At(from).dims, form.type, At(from).rows);
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_binary_primitive_desc_create(
              &made, Engine(), algorithm, At(from).desc.get(),
              At(other).desc.get(), value.desc.get(), attributes.get()),
          "a binary operation");
    std::vector<dnnl_exec_arg_t> arguments = {Argument(onednn::kSource, from),
                                              Argument(onednn::kSource1, other),
                                              Argument(onednn::kResult, id)};
    for (const auto& one : then.sources)
      arguments.push_back(Argument(one.first, one.second));
    Finish(made, std::move(arguments));
  }

  void Resize(std::istringstream& words) {
    const int id = Next<int>(words), from = Next<int>(words);
    float factors[2];
    for (float& one : factors)
      one = NextWithin<float>(words, 1.f / kMostSide, kMostSide);
    Dims dims = At(from).dims;
    for (int i = 0; i < 2; ++i) dims[2 + i] *= factors[i];
    const int type = At(from).type;
    const Value& value = Make(id, dims, type, false);
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_resampling_forward_primitive_desc_create(
              &made, Engine(), onednn::kForwardInference, onednn::kNearest,
              factors, At(from).desc.get(), value.desc.get(), nullptr),
          "a resize");
    Finish(made,
           {Argument(onednn::kSource, from), Argument(onednn::kResult, id)});
  }

  void Concat(std::istringstream& words) {
    const int id = Next<int>(words), count = Next<int>(words);
    std::vector<int> from;
    for (int i = 0; i < count; ++i) from.push_back(Next<int>(words));
    if (from.empty()) throw std::runtime_error("nothing to join");
    Dims dims = At(from[0]).dims;
    const int type = At(from[0]).type;
    dims[1] = 0;
    for (const int one : from) {
      const Dims& d = At(one).dims;
      if (At(one).type != type || d[0] != dims[0] || d[2] != dims[2] ||
          d[3] != dims[3])
        throw std::runtime_error("sizes or types do not fit");
      dims[1] += d[1];
    }
    const Value& value = Make(id, dims, type, false);
    std::vector<const dnnl_memory_desc*> descs;
    std::vector<dnnl_exec_arg_t> arguments = {Argument(onednn::kResult, id)};
    for (int i = 0; i < count; ++i) {
      descs.push_back(At(from[i]).desc.get());
      arguments.push_back(Argument(onednn::kManySources + i, from[i]));
    }
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_concat_primitive_desc_create(&made, Engine(), value.desc.get(),
                                            count, 1, descs.data(), nullptr),
          "a concatenation");
    Finish(made, std::move(arguments));
  }

  void Output(std::istringstream& words) {
    const int from = Next<int>(words);
    Value& value = At(from);
    const Dims d = value.dims;
    if (value.rows) {
      outputs_.push_back({d[0], d[3], d[1]});
      if (value.placed && value.type == onednn::kF32) {
        value.placed = false;  // it is made in the caller's memory
        results_.push_back(value.memory.get());
        return;
      }
    } else {
      outputs_.push_back({d[0], d[1], d[2], d[3]});
    }
    const Own<dnnl_memory_desc> desc = Plain(outputs_.back(), onednn::kF32);
    constants_.push_back(Unplaced(desc.get()));
    results_.push_back(constants_.back().get());
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_reorder_primitive_desc_create(&made, value.desc.get(), Engine(),
                                             desc.get(), Engine(), nullptr),
          "a reorder");
    Finish(made, {Argument(onednn::kSource, from),
                  {onednn::kResult, results_.back()}});
  }

  static int64_t Count(const std::vector<int64_t>& dims) {
    int64_t count = 1;
    for (const int64_t side : dims) count *= side;
    return count;
  }

  static Own<dnnl_memory_desc> Clone(const dnnl_memory_desc* desc) {
    dnnl_memory_desc* made = nullptr;
    Check(dnnl_memory_desc_clone(&made, desc), "a description");
    return Own<dnnl_memory_desc>(made);
  }

  // Memory that lives as long as the network.
  dnnl_memory* Keep(const dnnl_memory_desc* desc) {
    buffers_.push_back(Allocate(dnnl_memory_desc_get_size(desc)));
    dnnl_memory* made = nullptr;
    Check(dnnl_memory_create(&made, desc, Engine(), buffers_.back().get()),
          "a memory");
    constants_.emplace_back(made);
    return made;
  }

  template <typename T>
  dnnl_memory* Constant(const std::vector<T>& values, int type) {
    dnnl_memory* made =
        Keep(Plain({static_cast<int64_t>(values.size())}, type).get());
    memcpy(buffers_.back().get(), values.data(), values.size() * sizeof(T));
    return made;
  }

  dnnl_memory* Copied(const Parameter& parameter,
                      const std::vector<int64_t>& dims) {
    if (parameter.type != onednn::kF32 || Count(parameter.dims) != Count(dims))
      throw std::runtime_error("a parameter does not fit");
    const float* data = static_cast<const float*>(parameter.data);
    return Constant(std::vector<float>(data, data + Count(dims)), onednn::kF32);
  }

  // A parameter in the layout that a primitive asks for.
  dnnl_memory* Rearranged(const Parameter& parameter,
                          const std::vector<int64_t>& dims,
                          const dnnl_memory_desc* wanted) {
    const Own<dnnl_memory_desc> desc = Plain(dims, parameter.type);
    dnnl_memory* from = nullptr;
    Check(dnnl_memory_create(&from, desc.get(), Engine(),
                             const_cast<void*>(parameter.data)),
          "a memory");
    const Own<dnnl_memory> source(from);
    dnnl_memory* result = Keep(wanted);
    dnnl_primitive_desc* made = nullptr;
    Check(dnnl_reorder_primitive_desc_create(&made, desc.get(), Engine(),
                                             wanted, Engine(), nullptr),
          "a reorder of weights");
    const Own<dnnl_primitive_desc> description(made);
    dnnl_primitive* primitive = nullptr;
    Check(dnnl_primitive_create(&primitive, made), "a reorder of weights");
    const Own<dnnl_primitive> reorder(primitive);
    const dnnl_exec_arg_t arguments[] = {{onednn::kSource, from},
                                         {onednn::kResult, result}};
    Check(dnnl_primitive_execute(primitive, stream_.get(), 2, arguments),
          "a reorder of weights");
    Check(dnnl_stream_wait(stream_.get()), "a reorder of weights");
    return result;
  }

  // Gives each value a place in one arena; values that are not alive at the
  // same time share it. The largest are placed first, each at the lowest free
  // place.
  void Place() {
    struct Span {
      size_t begin, end;
      int first, last;
    };
    std::vector<int> order;
    for (size_t i = 0; i < values_.size(); ++i)
      if (values_[i].placed) order.push_back(i);
    const auto size = [&](int i) {
      const size_t bytes = dnnl_memory_desc_get_size(values_[i].desc.get());
      return (bytes + 63) / 64 * 64;
    };
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return size(a) > size(b); });
    std::vector<Span> taken;
    std::vector<size_t> at(values_.size());
    size_t end = 0;
    for (const int i : order) {
      const Value& value = values_[i];
      std::vector<Span> busy;
      for (const Span& one : taken)
        if (one.first <= value.last && value.first <= one.last)
          busy.push_back(one);
      std::sort(busy.begin(), busy.end(),
                [](const Span& a, const Span& b) { return a.begin < b.begin; });
      size_t begin = 0;
      for (const Span& one : busy) {
        if (begin + size(i) <= one.begin) break;
        begin = std::max(begin, one.end);
      }
      at[i] = begin;
      taken.push_back({begin, begin + size(i), value.first, value.last});
      end = std::max(end, begin + size(i));
    }
    arena_ = Allocate(end);
    for (const int i : order)
      Check(
          dnnl_memory_set_data_handle(values_[i].memory.get(),
                                      static_cast<char*>(arena_.get()) + at[i]),
          "a memory");
  }

  std::vector<Input> inputs_;
  std::vector<std::vector<int64_t>> outputs_;
  std::vector<Parameter> parameters_;  // while it is made
  Own<dnnl_stream> stream_;
  std::vector<Value> values_;
  std::vector<Own<void>> buffers_;
  std::vector<Own<dnnl_memory>> constants_;
  std::vector<dnnl_memory*> feeds_, results_;
  std::vector<Step> steps_;
  Own<void> arena_;
};

}  // namespace network

#endif  // DEPLOY_AUTO_COMPRESSION_OPS_NETWORK_H_
