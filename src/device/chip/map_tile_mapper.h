// device/chip/map_tile_mapper.h — the tile mapper's state and its parts: one file for each kind of step. Two ways to reach data:
//   staged: a step's operands are copied by DMA from main memory into the cores' local memories, box by box, and results back;
//   direct: instructions work on main memory through a cache (or a roofline's ideal memory), and carry the bytes that they move.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "device/chip/emitter.h"
#include "device/chip/map_tile.h"

namespace bascule::device::chip {

using Extents = std::vector<int64_t>;

// A box of the axes of a step.
struct Box {
  Extents begin, size;
  int64_t elements() const;
};
Box whole_box(const Extents& extents);
double product_of(const Extents& x);
// The largest box of a group of axes split `parts` ways, outermost axes first; into how many it can be split (4096 at most).
Extents split_size(const Extents& extents, int64_t parts);
int64_t most_parts(const Extents& extents);
// "m=128 n=512": the number after a key of a choice; -1: not there.
int64_t number_of(const std::string& choice, const std::string& key);

// Where the elements over some axes lie: element i at offset + sum_k i[k] * strides[k] of the buffer.
struct Place {
  int32_t buffer = -1;
  int64_t offset = 0;
  Extents strides;
};

// One elementwise instruction, of an epilogue or a region.
struct Item {
  struct Ref {
    enum Kind : uint8_t { none, value, operand, constant, anchor } kind = none;
    int32_t index = 0;  // value: an earlier item; operand, anchor: of those given; none: axis of an iota
    double number = 0;
  };
  loops::Op fn = loops::Op::load;  // iota: along axis in[0].index
  DType dtype = DType::f32;
  Ref in[3];
};

// A product over groups of dimensions: out[batch, m, n] (+)= sum_k a[batch, k, m] * b[batch, k, n].
struct Product {
  struct Dim {
    int64_t size = 1, a = 0, b = 0, out = 0;  // strides
  };
  std::vector<Dim> batch, m, n, k;
  int32_t a = -1, b = -1, out = -1;  // buffers
  int64_t a_offset = 0, b_offset = 0, out_offset = 0;
  bool accumulate = false;
};

// Of outputs begin .. begin + size of an axis, those that one tap reaches: `begin`, then every `step`th, `count` of them; they read inputs `from`, from + by ...
struct TapReach {
  int64_t begin = 0, step = 1, count = 0, from = 0, by = 1;
};
TapReach reach_of_tap(const WindowAxis& axis, int64_t tap, int64_t begin, int64_t size);

// The class of work of a scalar operator on so many tensors.
WorkClass work_class(loops::Op fn, int tensors);

class TileMapper {
 public:
  TileMapper(const Chip& chip, const Graph& graph, const std::vector<Step>& steps, const MapOptions& options);
  Program run();
  bool differs() const { return differs_; }  // some choice of the timing model from the closed form's

 private:
  // ---- values (map_tile.cc)
  void find_uses();
  DType stored_type(Value v) const;  // of the main-memory buffer of a value
  int32_t home(Value v);             // its buffer; weights get theirs at first use
  Place place(const View& view);
  Place place(Value v, const Layout& layout);
  bool feeds_rows(Value v) const;
  void make_result(Value v, bool made_by_host);
  void release_dead(size_t step);
  void map_step(size_t index);
  std::string choice_of(const std::string& shape);  // pinned for the step's name and shape, or its name; "" if none

  // ---- moves between memories (map_tile_move.cc)
  void copy_box(int32_t queue, const Place& from, const Place& to, const Box& box);
  // The box of an operand where engines can read it: staged, a local copy of type `as` (its own if none); `fetched_` holds it until drop_fetched().
  Place fetch(const Place& from, const Box& box, std::optional<DType> as = std::nullopt);
  void drop_fetched();
  // What fetch() gives for a box, kept while the box asked for stays the same.
  struct Loaded {
    Box box;
    Place at;
    std::vector<int32_t> held;
  };
  template <class Fetch>
  Place load(Loaded& l, const Box& box, const Fetch& fetch_box) {
    if (live(l.at) && l.box.begin == box.begin && l.box.size == box.size) return l.at;
    unload(l);
    const size_t before = fetched_.size();
    l.at = fetch_box(box);
    l.held.assign(fetched_.begin() + static_cast<std::ptrdiff_t>(before), fetched_.end());
    fetched_.resize(before);
    l.box = box;
    return l.at;
  }
  void unload(Loaded& l);
  int32_t load_queue();
  int32_t relay_queue(double elements, DType t);           // moves within local memory: the DMA or an engine, whichever is done sooner
  double relay_seconds(double elements, DType t) const;
  // Where to write a box of a result, and the copy that brings it home.
  Place result_box(const Place& home, const Box& box);
  void store(const Place& made, const Place& home, const Box& box);
  int32_t temp(DType t, int64_t elements);
  void drop(int32_t buffer);
  Place dense(int32_t buffer, const Box& box) const;  // the box, row-major
  void map_move(const Step& s);
  void map_gather(const Step& s);
  void map_scatter(const Step& s);  // map_tile_select.cc
  void map_scan(const Step& s);     // map_tile_select.cc
  void map_host(const Step& s);
  void map_collective(const Step& s);  // map_tile_collective.cc

  // ---- elementwise (map_tile_vector.cc)
  Access access(const Place& p, const Box& box);
  void vector(Opcode op, loops::Op fn, WorkClass work, const Access& out, const Access& a, const Access& b = {}, const Access& c = {}, double immediate = 0, int kept = 1, bool accumulate = false);
  void fill(const Access& out, double value);
  // Runs items over a box; operands and anchors are readable there. The last item's result goes to `out`, values of `also` to their places.
  void evaluate(const std::vector<Item>& items, const std::vector<Place>& operands, const std::vector<Place>& anchors, const Box& box, const Place& out);
  double vector_seconds(WorkClass c, Width w) const;  // an element's share, all cores at work; 0: no engine does it
  double epilogue_seconds(const Step& s, double elements) const;
  std::vector<Item> epilogue_items(const Step& s) const;
  // The epilogue of `s` over a box of its axes, from `anchor` (readable) to `out`.
  void epilogue(const Step& s, const std::vector<Place>& operands, const Place& anchor, const Box& box, const Place& out);
  void map_region(const Step& s);
  void map_rows(const Step& s);
  void rows_box(const Step& s, const Box& box, const Place& out);
  void softmax_rows(const Place& x, const Place& y, const Box& box, size_t row_axis, bool log);
  void map_window(const Step& s);
  void window_box(const Step& s, const Place& x, const Box& box, const Place& acc);

  struct Kernel {  // tiles of a product on a machine under a cache
    int64_t tile_m = 0, tile_n = 0, split_k = 1, waves = 1;
    double flops = 0, cache_bytes = 0, extra_bytes = 0, ns = 0;
  };

  // ---- products (map_tile_matrix.cc)
  struct Contraction;
  struct ContractionPlan;
  void product(Product p, double flops);
  void product_by_parts(const Product& p, double flops);
  double padded_passes(double batch, double m, double n, double k_passes) const;  // FLOP of the busiest core; k in passes of the array's rows
  double padded_flops(double batch, double m, double n, double k) const;
  int64_t epilogue_pieces(const Step& s, int64_t elements) const;
  void map_contraction(const Step& s);
  Contraction contraction_of(const Step& s);
  ContractionPlan plan_contraction(const Contraction& c, const std::string& pin);
  void contraction_boxes(const Contraction& c, const ContractionPlan& plan, const Kernel& kernel);
  void contraction_box(const Contraction& c, const Box& box, const std::vector<Box>& k_boxes, const Kernel& share, Loaded& left, Loaded& right);
  Place load_operand(Loaded& l, const Place& from, Box box, DType type);

  // ---- convolutions (map_tile_convolution.cc)
  struct Convolution;
  struct ConvolutionPlan;
  void map_convolution(const Step& s);
  Convolution convolution_of(const Step& s);
  void direct_convolution(const Convolution& c);
  void staged_convolution(const Convolution& c);
  void convolution_by_tap(const Convolution& c, const Box& box, const Place& from, const Place& kernels, const Place& acc, bool on_vector, double flops, double cache_bytes);
  void convolution_tap_on_vector(const Convolution& c, const Box& box, const Place& x, const Place& w, const Place& out, const Extents& count, bool start);
  void finish_convolution(const Convolution& c, const Box& box, const Place& acc);
  double convolution_flops(const Convolution& c, double images, double groups, double channels, double pixels, bool packed) const;
  double convolution_seconds(const Convolution& c, const ConvolutionPlan& plan, double limit) const;
  ConvolutionPlan plan_convolution(const Convolution& c, const std::string& pin);
  Place convolution_windows(const Convolution& c, const Box& box, bool packed);
  Place among_zeros(const Convolution& c, const Box& box, const Box& need);
  void convolution_product(const Convolution& c, const Box& box, const Place& windows, const Place& kernels, const Place& out, bool packed);

  // ---- attention (map_tile_attention.cc)
  struct Attention;
  void attention_product(const Attention& a, const Box& box, const Place& x, const Place& y, bool scores, const Place& out);
  void attention_mask(const Attention& a, const Box& score_box, const Place& scores);
  void map_attention(const Step& s);

  // ---- choices by the timing model (map_tile_search.cc)
  struct Candidates {  // choices of the least closed-form time, best first
    static constexpr size_t kMost = 8;
    std::vector<std::pair<double, std::string>> best;
    bool wants(double seconds) const { return best.size() < kMost || seconds < best.back().first; }
    void add(double seconds, std::string choice);
  };
  std::string fastest(const Step& s, const std::string& kind, const Candidates& found);
  const std::string* known(const std::string& kind) const;  // the choice for a kind that was searched
  double trial_ns(const Step& s, const std::string& choice, double before_ns);
  std::string kind_of(const Step& s);
  void copy_home(TileMapper& from, Value v);

  // ---- costs of direct steps (map_tile_direct.cc)
  Kernel best_kernel(double batch, double m, double n, double k, double main_bytes, DType in, const std::string& pinned) const;
  double bytes_over(const Place& p, const Extents& extents) const;  // each element once
  void begin_kernel();
  // Instructions since begin_kernel() are one kernel that moves `main_bytes`: each carries a share by its own work.
  void end_kernel(double main_bytes, int64_t waves = 1);
  double compute_ns(const Instruction& i);

  // ---- splitting into boxes
  // Boxes of `extents`, split along the outermost axes (up to `axes` of them) so that bytes(box) <= limit.
  template <class Bytes>
  std::vector<Box> boxes(const Extents& extents, size_t axes, double limit, const Bytes& bytes) const {
    Extents size = extents;
    // Where transfers run ahead of the work, a few boxes at least, unless they get too small to be worth it.
    if (staged_ && overlap_) limit = std::min(limit, std::max(bytes(extents) / 4, 128e3 * cores_));
    for (size_t a = 0; a < axes && bytes(size) > limit; ++a)
      while (size[a] > 1 && bytes(size) > limit) size[a] = (size[a] + 1) / 2;
    return grid(extents, size);
  }
  static std::vector<Box> grid(const Extents& extents, const Extents& size);  // boxes of at most `size` that cover the extents
  double local_limit() const { return local_limit_; }
  int32_t engine_for(WorkClass c) const;
  bool live(const Place& p) const { return p.buffer >= 0; }

  const Chip& chip_;
  const Graph& graph_;
  const std::vector<Step>& steps_;
  const MapOptions& options_;
  Emitter e_;
  bool staged_ = false, overlap_ = true;
  int32_t cores_ = 1;  // that share each instruction
  DType precision_ = DType::bf16, store_ = DType::f32;
  double local_limit_ = 0;
  size_t at_ = 0;                                // the step being mapped
  std::vector<int32_t> home_, last_use_, uses_;  // of values
  std::vector<bool> matrix_weight_;       // of values
  std::vector<bool> coordinates_;           // of values: stored as they are
  std::vector<bool> host_reads_;          // of values: the host sees main memory only
  std::vector<std::string> host_;         // of steps: why the host does it, "" if it does not
  std::set<Value> made_;                  // results of steps
  std::map<int32_t, std::vector<Value>> dies_;  // after step
  std::vector<int32_t> fetched_;
  Pins pinned_;
  std::array<std::pair<int32_t, WorkClass>, kWorkClasses> engines_{};  // engine and class that does the work of a class
  size_t kernel_begin_ = 0;
  std::map<std::string, std::string> searched_;  // choice for each kind of product
  double search_left_ = 0;                       // instructions
  bool differs_ = false;
  bool resident_weights_ = false;
  int64_t resident_bytes_ = 0;
};

}  // namespace bascule::device::chip
