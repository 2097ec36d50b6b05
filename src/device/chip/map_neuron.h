// device/chip/map_neuron.h — steps -> instructions of a scratchpad machine known to the instruction: values on partitions, products through the
// accumulator, elementwise work on whichever engine is free. One class, its parts in map_neuron_*.cc by meaning. Knows no chip but its numbers.
#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "device/chip/emitter.h"
#include "device/chip/map.h"
#include "device/chip/map_neuron_layouts.h"
#include "device/chip/step.h"

namespace bascule::device::chip::neuron {

// DMA channels, each in order: weights run ahead of everything that waits for results.
enum Channel : int32_t { kWeights, kLoads, kStores, kConstants };

// A whole copy of an item.
struct Held {
  Placement placement;
  Place place;
  DType dtype = DType::f32;
  int32_t used = -1;  // the step that used it last
};
// A value of the graph.
struct Item {
  std::string name;
  Value value;
  DType dtype = DType::f32;  // as it is stored
  int64_t total = 1;
  bool weight = false, output = false;
  int32_t main = -1;         // dense in main memory
  std::vector<Held> local;   // in the scratchpad
  std::vector<Held> images;  // in main memory, laid out as a placement
  std::vector<int32_t> uses;  // steps that read it, ascending
};

// The part of a placement that a block of work touches.
struct Window {
  int64_t q0 = 0, q1 = 0, outer0 = 0, outer1 = 0, inner0 = 0, inner1 = 0;
};

// An expression over a tile: leaves and instructions in one list.
struct Term {
  enum Leaf : uint8_t { none, anchor, operand, number, iota, alias } leaf = none;
  loops::Op fn = loops::Op::load;
  DType dtype = DType::f32;
  int32_t a = -1, b = -1, c = -1;  // terms
  int32_t index = 0;               // operand, or axis of an iota
  double value = 0;
};
struct Expression {
  std::vector<Term> terms;
  int32_t result = -1;
};

inline bool is_root(loops::Op op) { return op == loops::Op::sqrt || op == loops::Op::rsqrt; }

// A tensor that an instruction of a tile reads.
struct Source {
  Pattern pattern;  // buffer -1: none
  DType dtype = DType::f32;
  bool accumulator = false;
  bool column = false;  // one number a partition
};

struct Reach;  // map_neuron_convolution.h

class Mapper {
 public:
  // resident: whether weights may stay in the scratchpad between requests. share: of the scratchpad, that blocks of work are cut for.
  // `steps` are make_steps(graph, false); they and the graph outlive the mapper.
  Mapper(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options, bool resident = true, double share = 1, int64_t weight_room = 0);
  void reuse(Program&& old) { emit_.reuse(std::move(old)); }  // its room, before run()
  // Bytes of a partition that resident weights took: what the next mapping keeps for them.
  int64_t weight_room() const { return weight_room_; }
  bool resident() const { return resident_; }
  bool spilled() const { return spilled_; }   // some activation went through main memory for want of room
  int32_t cramped() const { return cramped_; }  // the step that found no room in the scratchpad; -1: none
  Program run();

  // A product where the whole program comes to it: what lies where, and the steps up to the first that reads its result.
  struct Scene {
    struct Live {
      int32_t item = -1;
      bool main = false;
      std::vector<std::pair<Placement, DType>> local, images;
    };
    int32_t first = -1, last = -1;
    std::string name, shape;  // "dot_general + gelu", "1024x768x3072": rows, K, features
    std::vector<Live> live;
  };
  const std::vector<Scene>& scenes() const { return scenes_; }  // after run()
  // These steps alone, by a mapper that has not run: what they cost with the product mapped by `choice`. Their operands are never written.
  Program alone(const Scene& scene, const std::string& choice);
  static std::string pinned_word(const std::string& choice, const std::string& key);

 private:
  // ---- map_neuron.cc: steps, wishes of consumers
  void step(int32_t index);
  void host_step(const Step& s);
  DType stored(const Type& t, bool output) const;
  std::optional<Placement> wish(const Item& item, int32_t after) const;
  std::optional<Placement> wish_of(const Step& s, Value v) const;
  int32_t item_of(Value v) const { return item_[static_cast<size_t>(v.id)]; }
  Item& item(int32_t i) { return items_[static_cast<size_t>(i)]; }
  Operand operand(const View& v) const;
  Operand result(const Step& s) const;
  int64_t weight_room_ = 0;
  std::map<std::string, std::string, std::less<>> pins_;  // choices by step name
  void choice(const std::string& text) { emit_.step().choice += (emit_.step().choice.empty() ? "" : " ") + text; }

  // ---- map_neuron_values.cc: where values are
  Place hold(int32_t item_index, Placement p, DType dtype, const Window* window = nullptr);
  Place whole(int32_t item_index, Placement p, DType dtype);  // buffer -1: does not fit
  Place room(const std::string& name, int64_t total, Placement p, DType dtype, const Window* window, bool may_fail);
  void fill_place(int32_t item_index, Placement p, DType dtype, const Place& at);
  Placement lying_of(Placement p, int64_t total) const;
  bool load_turned(int32_t main_buffer, bool image_of_via, Placement via, DType type, Placement p, const Place& at, int64_t total);
  int32_t in_main(int32_t item_index);                         // dense, stored if need be
  int32_t main_room(const std::string& name, DType dtype, int64_t elements);
  void main_free(int32_t buffer);
  int32_t main_for(int32_t item_index);  // dense, of a result
  void load_dense(int32_t main_buffer, int64_t total, Placement p, const Place& at, Channel channel, bool image_of_placement = false);
  void store(const Place& from, Placement p, int64_t total, int32_t main_buffer, bool image);
  class Relayout;
  void convert(Placement from_placement, const Place& from, Placement p, const Place& at, int64_t total);
  std::vector<Box> boxes_of(const Nest& n, size_t operand_index, const Place& at) const;
  Box cover(const std::vector<Box>& boxes) const;
  int32_t arranged(int32_t item_index, Arrangement a, size_t outer, DType dtype, int64_t rows, int64_t columns, std::vector<int32_t>& pieces);
  int32_t weight_image(int32_t item_index, Placement p, DType dtype);  // whole, tile after tile, arranged when compiled; the main buffer
  void load_weight(int32_t item_index, Placement p, DType dtype, const Place& at);
  int32_t take(const std::string& name, DType dtype, int64_t rows, int64_t columns, bool may_fail = false, bool weight = false);  // scratchpad, others moved out if need be
  bool move_out();
  void free_place(const Place& at);
  void done();  // temporaries of this block
  void release_from(size_t first);  // temporaries from this one on
  std::vector<Window> windows(Placement p, int64_t total, const std::function<bool(const Window&)>& fit) const;
  // Where the result goes: whole in the scratchpad, or (nullopt) in blocks through main memory.
  struct Target {
    Place place;
    int32_t image = -1;  // blocks are stored here
  };
  Target target(int32_t item_index, Placement p);
  Place target_block(Target& t, int32_t item_index, Placement p, const Window& w);
  void target_done(const Target& t, const Nest& n, size_t operand, const Box& box, const Place& block);  // box: what was written of the block
  void store_box(const Nest& n, size_t operand, const Box& box, const Place& from, int32_t image_buffer);
  Place shape_of(const Target& t, const Operand& y) const;  // the whole result, also where it goes out in blocks
  int64_t place_bytes(int64_t total, Placement p, DType dtype) const;  // of a partition
  int32_t new_item(int32_t like, int64_t total);
  void forget(int32_t item_index);
  Operand batch_first(const Operand& o, const std::vector<int64_t>& extents) const;
  void take_out(Step& s, View& v, const std::vector<int64_t>& extents);
  bool rows_change_order(Step& s, const Operand& y) const;
  void move_main(int32_t to, const Operand& out, int32_t from, const Operand& in, const std::vector<int64_t>& extents, Channel channel);
  int64_t most_middle() const { return budget_ / 2; }  // bytes of a partition of what is loaded only to be turned
  int64_t window_bytes(Placement p, const Window& w, DType dtype) const;  // of a partition
  Window window(const Operand& o, const Box& box) const;
  Window all_of(Placement p, int64_t total) const;
  bool covers_all(const Window& w, Placement p, int64_t total) const;
  int64_t partitions() const { return partitions_; }
  int64_t pitch(const Place& at) const { return emit_.buffer(at.buffer).row_elements; }
  void retire(int32_t step_index);

  // ---- map_neuron_work.cc: instructions on the engines that are free
  int32_t scratch(DType dtype, int64_t rows, int64_t columns);       // until done()
  int32_t accumulator(DType dtype, int64_t rows, int64_t columns);  // released by the caller
  Source source(int32_t buffer, int64_t rows, int64_t columns, int64_t column0 = 0, int64_t row0 = 0) const;
  Source tile_of(int32_t buffer, int64_t rows, const std::vector<int64_t>& sizes, int64_t row0 = 0) const;  // [rows, sizes...], dense in each row
  Source sum_tile(int64_t rows, const std::vector<int64_t>& sizes);                                         // in the accumulator, released by the caller
  Source scratch_tile(DType dtype, int64_t rows, const std::vector<int64_t>& sizes, int64_t row0);          // until done()
  struct Call {
    Opcode op = Opcode::map;
    loops::Op fn = loops::Op::load;
    WorkClass work = WorkClass::arith;
    Source out, in[3], out2;
    double scale = 1, immediate = 0;
    int8_t kept = 1;
    bool accumulate = false;
  };
  void emit(const Call& c);
  void emit(const Call& c, bool uncut);
  void emit_uncut(const Call& c);  // dimensions mean something: they are kept as they are
  void copy(const Source& out, const Source& in);
  void fill(const Source& out, double number);
  void transfer(const Pattern& out, const Pattern& in, Channel channel);
  double estimate(const Engine& e, WorkClass c, bool acc, Width w, int64_t n) const;  // < 0: cannot
  // out = expression, `leaf` giving anchors and operands; sizes as those of out. in_place: the anchor's tile may be overwritten.
  class Evaluation;
  void evaluate(const Expression& x, const Source& out, const std::function<Source(const Term&)>& leaf, const Source* in_place);
  Expression expression(const Step& s) const;  // of the epilogue
  bool turns(DType t) const { return chip_.matrix.passes.contains(t); }  // the matrix engine turns what it multiplies
  void transpose_block(const Pattern& out, const Pattern& in);
  void multiply(const Pattern& out, const Pattern& stationary, const Pattern& moving, bool accumulate);

  // ---- by kind of step
  void contraction(const Step& s);
  void convolution(const Step& s);
  class Pool;
  void window_step(const Step& s);
  class Rows;
  void rows(const Step& s);
  void attention(const Step& s);
  class Region;
  void region(const Step& s);
  struct Convolution;
  bool place_output(Convolution& c) const;
  bool packs(const Convolution& c) const;
  bool place_input(Convolution& c) const;
  void convolve(Convolution& c);
  void plan_convolution(Convolution& c, bool result_streams);
  void hold_input(Convolution& c, const Box& block);
  void hold_beside(Convolution& c, const Box& block);
  void arrange_taps(Convolution& c);
  int32_t narrow_input(int32_t item_index);
  void pack(Convolution& c, int32_t from, const Box& block);
  void matmul_block(Convolution& c, const Box& block);
  int32_t taps_piece(Convolution& c, int64_t index);
  Pattern moving_tile(const Convolution& c, const Box& at, int64_t group, int64_t channel_tile, const std::vector<Reach>& r) const;
  Pattern depthwise_input(const Convolution& c, const Box& at, const std::vector<Reach>& r) const;
  static Pattern reached_part(Pattern sum, const Box& at, const std::vector<Reach>& r);
  void convolution_tile(Convolution& c, const Box& at, int64_t group, int64_t chunk_index);
  void finish_tile(Convolution& c, const Box& at, const Source& sum, int part, int64_t rows);
  int window_rows(const Step& s) const;
  void depthwise_block(Convolution& c, const Box& block);
  struct Attention;
  struct Heads;
  void scores(Attention& a, Heads& g);
  void normalise(Attention& a, Heads& g);
  void turn(Attention& a, Heads& g);
  void beside_scores(Attention& a, Heads& g, const Source& to, const Source& from, int64_t t0, int64_t keys, double scale);
  void values_of(Attention& a, Heads& g);
  void small_like(const Source& out, loops::Op fn, const Source& in, double scale, double immediate);
  void gather(const Step& s);
  void collective(const Step& s);  // map_neuron_collective.cc
  // ---- map_neuron_select.cc: what data decide
  void scatter(const Step& s);
  void scan_row(const Step& s, const Source& out, const Source& in, const std::function<Source(DType)>& like_row);
  void move(const Step& s);
  bool move_turned(const Piece& p, int32_t to);
  bool move_local(const Step& s);
  void move_dense(const Step& s);
  int64_t legal_rows(int64_t from, int64_t to, int64_t rows) const;

  void fill_result(const Step& s, double value);
  void fill_main(int32_t main, int64_t total, double value);
  void fold(const Source& out, const Source& in, int kept_free, loops::Op op, bool accumulate);
  void small(const Source& out, loops::Op fn, const Source& in, double scale, double immediate, const Source* factor, WorkClass work);
  void emit_stats(const Call& c);
  double neutral(loops::Op fold) const;
  int64_t neutral_integer(loops::Op fold, DType t) const;

  // ---- map_neuron_products.cc
  struct Product;
  bool product(const Step& s, Product& p, bool features) const;
  bool features_stationary(const Step& s, int64_t m, int64_t f, int64_t k) const;
  Scene scene(const std::string& shape) const;
  Nest product_nest(const Step& s, bool& weight) const;
  std::vector<Placement> result_placements(const Nest& n, char tag) const;
  bool lay_out(Product& p, Nest trial, Placement px, Placement py, int64_t longest) const;
  bool follow(Nest& n, size_t out, size_t first, int& out_axis, size_t last = SIZE_MAX) const;
  bool aligned(const Nest& n, size_t out, size_t first) const;
  std::vector<int> axes_of(const Nest& n, char tag) const;
  std::vector<Box> boxes(const Box& within, const std::vector<int>& axes, int64_t most, const std::function<bool(int)>& single, int64_t unit = 1) const;
  std::vector<Box> row_boxes(const Nest& n, size_t operand_index, const Place& at, const Box& within, const std::vector<int>& axes, int part) const;
  Place hold_operand(const Operand& o, const Box* block = nullptr);
  DType operand_type(const Operand& o) const;
  bool held(const Operand& o, DType t) const;  // whole in the scratchpad
  Source leaf_source(const Operand& o, const Place& at, const Box& box, int part, const std::vector<int>& free, int64_t row0, int64_t rows) const;

  // ---- map_neuron_product_tiles.cc
  int64_t bank_columns() const;  // f32 columns of an accumulator bank
  int64_t most_moving() const;   // columns of a product's moving operand
  void emit_product(const Step& s, Product& p);
  void plan_weight(Product& p);
  int64_t whole_tiles(const Product& p, int64_t rows) const;
  int64_t beside_bytes(const Product& p) const;
  void plan_blocks(Product& p);
  void plan_parts(Product& p);
  void emit_blocks(Product& p);
  void emit_parts(Product& p);
  struct RowBlock;
  void hold_rows(Product& p, RowBlock& part);
  void hold_group(Product& p, RowBlock& part, int64_t c);
  void multiply_rows(Product& p, RowBlock& part, int64_t c);
  int32_t arrange_weight(Product& p);
  int32_t weight_piece(Product& p, int64_t c);
  void drop_piece(Product& p, int64_t c);
  void drop_features(Product& p);
  void hold_block(Product& p, const Box& block);
  Box chunk_box(const Product& p, Box b, int64_t c) const;
  Pattern weight_tile(const Product& p, const Box& b, int64_t c, int64_t t, int64_t depth) const;
  void product_block(Product& p, const Box& block);
  void product_chunk(Product& p, const Box& block, int64_t c);
  bool product_single(const Product& p, int axis) const;
  std::vector<Box> product_rows(const Product& p, const Box& block) const;
  void product_features(Product& p, const Box& block, int64_t c);
  void product_tile(Product& p, const Box& at, int64_t c);

  const Chip& chip_;
  const Graph& graph_;
  MapOptions options_;
  Emitter emit_;
  const std::vector<Step>& steps_;
  std::vector<Item> items_;
  std::vector<int32_t> item_;  // by value id
  std::set<Value> made_;       // results of steps
  std::vector<std::vector<int32_t>> dying_;
  int32_t now_ = -1, cramped_ = -1;
  std::map<Value, int32_t> taken_out_;  // items that stand for a few rows of a value, for this step
  int32_t result_as_ = -1;  // the item that stands for the step's result while it is laid out anew
  int64_t partitions_ = 128;
  DType precision_ = DType::bf16;  // of matrix inputs
  DType activation_ = DType::bf16;
  bool resident_ = false, spilled_ = false;
  std::vector<int32_t> temporaries_;
  std::vector<Scene> scenes_;
  std::map<std::pair<DType, int64_t>, std::vector<int32_t>> free_main_;
  std::map<std::string, int32_t> arranged_;  // weights as laid out: main or resident buffers
  struct Unit {
    int32_t queue = -1;
    const Engine* engine = nullptr;
    bool shares = false;       // excluded by another engine: used only where no other can
    bool takes_turns = false;  // with another engine at the accumulator
    double load_ns = 0;
  };
  std::vector<Unit> units_;
  double turns_ns_ = 0;  // work on the accumulator of those that take turns there
  int64_t capacity_ = 0;  // bytes of a partition of the scratchpad
  int64_t budget_ = 0;    // the same, as far as blocks of work may count on it
};

}  // namespace bascule::device::chip::neuron
