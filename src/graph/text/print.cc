// graph/text/print.cc — Graph to StableHLO's MLIR text. Reads the table of forms.h; see print_values.cc for types and constants.
#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>

#include "base/error.h"
#include "graph/builder.h"
#include "graph/text/forms.h"
#include "graph/text/lexer.h"
#include "graph/text/print_values.h"
#include "graph/text/text.h"

namespace bascule::mlir {
namespace {

using Names = std::unordered_map<int32_t, std::string>;  // value -> "%name"

std::string symbol_text(std::string_view name) {
  std::string out = "@";
  return out += is_identifier(name) ? std::string(name) : quoted(name);
}

class Printer {
 public:
  explicit Printer(const PrintOptions& options) : options_(options) {}

  std::string module(const Graph& g) {
    std::string body;
    function(body, g, "main", true);
    std::string out = "module";
    if (g.name != "main" && !g.name.empty()) out += " " + symbol_text(g.name);
    out += " {\n" + body;
    for (const std::string& f : functions_) out += f;
    return out + "}\n";
  }

 private:
  struct Written {            // an attribute as it is printed
    std::string name, value;  // value "": a flag
  };

  void function(std::string& out, const Graph& g, const std::string& name, bool is_public) {
    const auto used = std::move(used_);
    const int next = next_, next_argument = next_argument_;
    used_.clear();
    next_ = next_argument_ = 0;
    Names names;
    out += "  func.func " + std::string(is_public ? "public " : "private ") + symbol_text(name) + "(";
    for (size_t i = 0; i < g.inputs.size(); ++i) {
      const ValueInfo& v = g.at(g.inputs[i]);
      const std::string argument = "arg" + std::to_string(next_argument_++);
      used_.insert(argument);
      names[g.inputs[i].id] = "%" + argument;
      out += (i ? ", %" : "%") + argument + ": " + type_text(v.type);
      if (is_public && v.name != argument) out += " {bascule.name = " + quoted(v.name) + "}";
    }
    out += ")";
    if (!g.outputs.empty()) {
      const bool named = is_public && g.output_names.size() == g.outputs.size();
      const bool list = g.outputs.size() > 1 || named;
      out += list ? " -> (" : " -> ";
      for (size_t i = 0; i < g.outputs.size(); ++i) {
        out += (i ? ", " : "") + type_text(g.type(g.outputs[i]));
        if (named) out += " {bascule.name = " + quoted(g.output_names[i]) + "}";
      }
      if (list) out += ")";
    }
    out += " {\n";
    nodes(out, g, names, 4);
    terminator(out, g, names, 4, "return");
    out += "  }\n";
    used_ = used;
    next_ = next;
    next_argument_ = next_argument;
  }

  void terminator(std::string& out, const Graph& g, const Names& names, int indent, const char* name) {
    out.append(static_cast<size_t>(indent), ' ');
    out += name;
    for (size_t i = 0; i < g.outputs.size(); ++i) out += (i ? ", " : " ") + names.at(g.outputs[i].id);
    for (size_t i = 0; i < g.outputs.size(); ++i) out += (i ? ", " : " : ") + type_text(g.type(g.outputs[i]));
    out += "\n";
  }

  void nodes(std::string& out, const Graph& g, Names& names, int indent) {
    for (const Node& n : g.nodes) node(out, g, n, names, indent);
  }

  // "%a, %b = ", "%3:2 = "; gives the results their names.
  std::string results(const Graph& g, const Node& n, Names& names, std::vector<Written>& extra) {
    bool any = false, lost = false;
    for (const Value v : n.outputs) {
      const std::string& name = g.at(v).name;
      const bool fits = is_value_name(name) && !used_.count(name);
      any |= fits;
      lost |= !fits && !name.empty();
    }
    if (lost && options_.locations) {
      std::string list;
      for (const Value v : n.outputs) list += (list.empty() ? "[" : ", ") + quoted(g.at(v).name);
      extra.push_back({"bascule.names", list + "]"});
    }
    if (n.outputs.empty()) return "";
    if (n.outputs.size() > 1 && !any) {
      const std::string base = std::to_string(next_++);
      for (size_t i = 0; i < n.outputs.size(); ++i) names[n.outputs[i].id] = "%" + base + "#" + std::to_string(i);
      return "%" + base + ":" + std::to_string(n.outputs.size()) + " = ";
    }
    std::string out;
    for (const Value v : n.outputs) {
      const std::string& name = g.at(v).name;
      std::string id;
      if (is_value_name(name) && used_.insert(name).second) id = "%" + name;
      else id = "%" + std::to_string(next_++);
      out += (out.empty() ? "" : ", ") + id;
      names[v.id] = std::move(id);
    }
    return out + " = ";
  }

  std::string location(const Node& n) const {
    if (!options_.locations) return "";
    std::vector<std::string> parts;
    if (n.origin)
      for (const std::string& name : *n.origin) parts.push_back(quoted(name));
    if (!n.location.empty()) {
      // file:line:column
      const size_t column = n.location.rfind(':');
      const size_t line = column == std::string::npos || column == 0 ? std::string::npos : n.location.rfind(':', column - 1);
      const auto digits = [&](size_t from, size_t to) {
        return from < to && to - from < 19 &&
               std::all_of(
                   n.location.begin() + static_cast<int64_t>(from), n.location.begin() + static_cast<int64_t>(to),
                   [](char c) { return c >= '0' && c <= '9'; });
      };
      if (line != std::string::npos && digits(line + 1, column) && digits(column + 1, n.location.size())) {
        const std::string file = quoted(n.location.substr(0, line)) + n.location.substr(line);
        if (parts.size() == 1) return " loc(" + parts[0] + "(" + file + "))";
        parts.push_back(file);
      } else {
        parts.push_back(quoted(n.location) + ":0:0");
      }
    }
    if (parts.empty()) return "";
    if (parts.size() == 1) return " loc(" + parts[0] + ")";
    std::string out = " loc(fused[";
    for (size_t i = 0; i < parts.size(); ++i) out += (i ? ", " : "") + parts[i];
    return out + "])";
  }

  // ------------------------------------------------------------------------------------------------ attributes

  // Attributes that are printed: not those that the result type tells, nor defaults.
  static bool hidden(const OpDef& def, std::string_view name, const Attr& value) {
    const auto d = std::find_if(def.attrs.begin(), def.attrs.end(), [&](const AttrDef& a) { return a.name == name; });
    if (d == def.attrs.end()) return false;
    if (def.dialect != "bascule" && d->required && ((name == "dtype" && d->kind == AttrKind::dtype) || (name == "dims" && d->kind == AttrKind::dims)))
      return true;
    if (d->required || d->no_default) return false;
    if (kind(value) == AttrKind::dims && kind(d->fallback) == AttrKind::ints) return std::get<Dims>(value) == to_dims(std::get<Ints>(d->fallback));
    return value == d->fallback;
  }

  std::string attribute_text(std::string_view name, const Attr& a) const {
    const std::string_view enumeration = enumeration_type(name);
    const auto word = [&](const std::string& s) {
      return enumeration.empty() || !is_identifier(s) ? quoted(s) : "#stablehlo<" + std::string(enumeration) + " " + s + ">";
    };
    switch (kind(a)) {
      case AttrKind::flag: return std::get<bool>(a) ? "true" : "false";
      case AttrKind::integer:
        return std::to_string(std::get<int64_t>(a)) + (name == "exponent_bits" || name == "mantissa_bits" || name == "index" ? " : i32" : " : i64");
      case AttrKind::number: return number_text(std::get<double>(a)) + " : f64";
      case AttrKind::text: {
        const std::string& s = std::get<std::string>(a);
        return name == "algorithm" && s.starts_with("<") ? "#stablehlo.dot_algorithm" + s : word(s);
      }
      case AttrKind::dtype: return std::string(info(std::get<DType>(a)).mlir_name);
      case AttrKind::ints:
        if (name == "window_reversal") {
          std::string out = "array<i1";
          for (const int64_t v : std::get<Ints>(a)) out += (out.back() == '1' ? ": " : ", ") + std::string(v ? "true" : "false");
          return out + ">";
        }
        return ints_text(std::get<Ints>(a));
      case AttrKind::numbers: {
        std::string out = "array<f64";
        bool first = true;
        for (const double v : std::get<Numbers>(a)) {
          out += (first ? ": " : ", ") + number_text(v);
          first = false;
        }
        return out + ">";
      }
      case AttrKind::texts: {
        std::string out = "[";
        for (const std::string& s : std::get<Texts>(a)) out += (out.size() > 1 ? ", " : "") + word(s);
        return out + "]";
      }
      case AttrKind::dims: {
        const Dims& d = std::get<Dims>(a);
        if (const auto c = constants(d)) return ints_text(*c);
        return dims_text(d);
      }
      case AttrKind::tensor: return tensor_text(std::get<Tensor>(a), options_.largest_constant);
    }
    return "";
  }

  static std::string bracketed(const Ints& v) {
    std::string out = "[";
    for (size_t i = 0; i < v.size(); ++i) out += (i ? ", " : "") + std::to_string(v[i]);
    return out + "]";
  }

  // [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]
  static std::string convolution_text(const Attrs& a) {
    const auto part = [&](const std::string& prefix, const char* first_name, char first, const char* second_name, char second) {
      const Ints& spatial = a.ints(prefix + "_spatial_dimensions");
      std::vector<std::string> letters(spatial.size() + 2, "?");
      const auto put = [&](int64_t axis, std::string letter) {
        if (axis >= 0 && axis < static_cast<int64_t>(letters.size())) letters[static_cast<size_t>(axis)] = std::move(letter);
      };
      for (size_t i = 0; i < spatial.size(); ++i) put(spatial[i], std::to_string(i));
      put(a.integer(prefix + first_name), std::string(1, first));
      put(a.integer(prefix + second_name), std::string(1, second));
      std::string out = "[";
      for (size_t i = 0; i < letters.size(); ++i) out += (i ? ", " : "") + letters[i];
      return out + "]";
    };
    return part("input", "_batch_dimension", 'b', "_feature_dimension", 'f') + "x" +
           part("kernel", "_input_feature_dimension", 'i', "_output_feature_dimension", 'o') + "->" +
           part("output", "_batch_dimension", 'b', "_feature_dimension", 'f');
  }

  // All attributes but `done`, as MLIR's generic form has them.
  std::vector<Written> generic_attributes(const OpDef& def, const Attrs& attrs, const std::set<std::string_view>& done) const {
    std::vector<Written> out;
    std::set<std::string_view> gone = done;
    for (const StructAttribute& s : struct_attributes()) {
      if (def.dialect == "bascule" || !(s.op.empty() || s.op == def.name)) continue;
      std::string fields;
      bool any = false;
      for (const std::string_view f : split_pieces(s.fields)) {
        const size_t equals = f.find('=');
        const std::string_view theirs = f.substr(0, equals), ours = equals == std::string_view::npos ? f : f.substr(equals + 1);
        const Attr* a = attrs.find(ours);
        if (!a || gone.count(ours)) continue;
        any = true;
        gone.insert(ours);
        std::string value;
        if (const auto* list = std::get_if<Ints>(a)) {
          if (list->empty()) continue;
          value = bracketed(*list);
        } else {
          value = std::to_string(std::get<int64_t>(*a));
        }
        fields += (fields.empty() ? "" : ", ") + std::string(theirs) + " = " + value;
      }
      if (any)
        out.push_back({std::string(s.name), "#" + std::string(s.type) + "<" + (s.type == "stablehlo.conv" ? convolution_text(attrs) : fields) + ">"});
    }
    if (const Attr *low = attrs.find("padding_low"), *high = attrs.find("padding_high");
        low && high && !gone.count("padding_low") && def.dialect != "bascule") {
      const auto l = constants(attrs.dims("padding_low")), h = constants(attrs.dims("padding_high"));
      if (l && h && l->size() == h->size()) {
        Ints pairs;
        for (size_t i = 0; i < l->size(); ++i) {
          pairs.push_back((*l)[i]);
          pairs.push_back((*h)[i]);
        }
        if (!pairs.empty()) out.push_back({"padding", tensor_text(Tensor::from_ints(DType::i64, {static_cast<int64_t>(l->size()), 2}, pairs), -1)});
        gone.insert("padding_low");
        gone.insert("padding_high");
      }
    }
    for (const auto& [name, a] : attrs) {
      if (gone.count(name) || hidden(def, name, a) || (def.dialect != "bascule" && is_extension(name))) continue;
      if (name == "use_global_device_ids" || name == "has_dynamic_root") {
        out.push_back({name, ""});
        continue;
      }
      out.push_back({name, attribute_text(name, a)});
    }
    std::sort(out.begin(), out.end(), [](const Written& x, const Written& y) { return x.name < y.name; });
    return out;
  }

  static std::string dictionary(const std::vector<Written>& list) {
    std::string out = "{";
    for (const Written& w : list) out += (out.size() > 1 ? ", " : "") + w.name + (w.value.empty() ? "" : " = " + w.value);
    return out + "}";
  }

  // ------------------------------------------------------------------------------------------------ nodes

  static std::string list_of(const std::vector<std::string>& parts) {
    std::string out;
    for (size_t i = 0; i < parts.size(); ++i) out += (i ? ", " : "") + parts[i];
    return out;
  }
  static std::string functional(const std::vector<std::string>& in, const std::vector<std::string>& out) {
    return "(" + list_of(in) + ") -> " + (out.size() == 1 && out[0][0] != '(' ? out[0] : "(" + list_of(out) + ")");
  }

  void node(std::string& out, const Graph& g, const Node& n, Names& names, int indent) {
    std::vector<Written> extra;
    std::vector<std::string> operands, operand_types, result_types;
    std::string present;
    bool absent = false;
    for (size_t i = 0; i < n.operands(); ++i) {
      const Value v = n.inputs[i];
      present += (i ? ", " : "") + std::string(v ? "true" : "false");
      absent |= !v;
      if (!v) continue;
      operands.push_back(names.at(v.id));
      operand_types.push_back(type_text(g.type(v)));
    }
    for (const Value v : n.outputs) result_types.push_back(type_text(g.type(v)));
    if (absent) extra.push_back({"bascule.present", "array<i1: " + present + ">"});
    if (n.op->dialect != "bascule")
      for (const auto& [name, a] : n.attrs)
        if (is_extension(name) && !hidden(*n.op, name, a)) extra.push_back({"bascule." + name, attribute_text(name, a)});
    const std::string head = std::string(static_cast<size_t>(indent), ' ') + results(g, n, names, extra);
    const OpDef& def = *n.op;
    const std::string name = std::string(def.dialect) + "." + std::string(def.name);
    out += head;
    const bool decomposes = def.dialect == "bascule" && def.decompose && !def.host && !def.control && def.regions == 0;
    if (decomposes && composite(out, g, n, operands, operand_types, result_types, extra)) {
    } else if (!options_.generic && name == "stablehlo.while" && n.outputs.size() == operands.size()) {
      while_loop(out, n, names, operands, result_types, extra, indent);
    } else if (!options_.generic && name == "stablehlo.reduce" && !absent) {
      reduction(out, n, names, operands, operand_types, result_types, extra, indent);
    } else if (!(!options_.generic && n.regions.empty() && !absent && pretty(out, name, n, operands, operand_types, result_types, extra))) {
      generic(out, name, n, names, operands, operand_types, result_types, extra, indent);
    }
    out += location(n) + "\n";
  }

  void generic(std::string& out, const std::string& name, const Node& n, const Names& names, const std::vector<std::string>& operands,
               const std::vector<std::string>& operand_types, const std::vector<std::string>& result_types, const std::vector<Written>& extra,
               int indent) {
    out += quoted(name) + "(" + list_of(operands) + ")";
    std::vector<Written> attrs = generic_attributes(*n.op, n.attrs, {});
    if (!attrs.empty()) out += " <" + dictionary(attrs) + ">";
    if (!n.regions.empty()) {
      out += " (";
      for (size_t r = 0; r < n.regions.size(); ++r) {
        out += r ? ", {\n" : "{\n";
        region(out, n, *n.regions[r], names, indent + 2, true);
        out += std::string(static_cast<size_t>(indent), ' ') + "}";
      }
      out += ")";
    }
    if (!extra.empty()) out += " " + dictionary(extra);
    out += " : " + functional(operand_types, result_types);
  }

  // The block arguments of a region get names; captured ones are those of the values outside.
  Names region_names(const Node& n, const Graph& g, const Names& outer, std::vector<std::string>& arguments, std::vector<std::string>& types) {
    Names inner;
    const size_t count = g.inputs.size() - static_cast<size_t>(n.captures);
    for (size_t i = 0; i < g.inputs.size(); ++i) {
      if (i >= count) {
        inner[g.inputs[i].id] = outer.at(n.inputs[n.operands() + i - count].id);
        continue;
      }
      std::string name = g.at(g.inputs[i]).name;
      if (!is_value_name(name) || !used_.insert(name).second) {
        do name = "arg" + std::to_string(next_argument_++);
        while (!used_.insert(name).second);
      }
      inner[g.inputs[i].id] = "%" + name;
      arguments.push_back("%" + name);
      types.push_back(type_text(g.type(g.inputs[i])));
    }
    return inner;
  }

  void region(std::string& out, const Node& n, const Graph& g, const Names& outer, int indent, bool label) {
    std::vector<std::string> arguments, types;
    Names inner = region_names(n, g, outer, arguments, types);
    if (label && !arguments.empty()) {
      out += std::string(static_cast<size_t>(indent), ' ') + "^bb0(";
      for (size_t i = 0; i < arguments.size(); ++i) out += (i ? ", " : "") + arguments[i] + ": " + types[i];
      out += "):\n";
    }
    nodes(out, g, inner, indent + 2);
    terminator(out, g, inner, indent + 2, "stablehlo.return");
  }

  void while_loop(std::string& out, const Node& n, const Names& names, const std::vector<std::string>& operands,
                  const std::vector<std::string>& result_types, const std::vector<Written>& extra, int indent) {
    // Both regions have the same arguments: they are named once.
    std::vector<std::string> arguments, types;
    Names first = region_names(n, *n.regions[0], names, arguments, types), second = first;
    const Graph &cond = *n.regions[0], &body = *n.regions[1];
    second.clear();
    for (size_t i = 0; i < body.inputs.size(); ++i) second[body.inputs[i].id] = first.at(cond.inputs[i].id);
    out += "stablehlo.while(";
    for (size_t i = 0; i < operands.size(); ++i) out += (i ? ", " : "") + arguments[i] + " = " + operands[i];
    out += ")";
    if (!result_types.empty()) out += " : " + list_of(result_types);
    std::vector<Written> attrs = generic_attributes(*n.op, n.attrs, {});
    attrs.insert(attrs.end(), extra.begin(), extra.end());
    if (!attrs.empty()) out += " attributes " + dictionary(attrs);
    const std::string margin(static_cast<size_t>(indent), ' ');
    out += "\n" + margin + "cond {\n";
    nodes(out, cond, first, indent + 2);
    terminator(out, cond, first, indent + 2, "stablehlo.return");
    out += margin + "} do {\n";
    nodes(out, body, second, indent + 2);
    terminator(out, body, second, indent + 2, "stablehlo.return");
    out += margin + "}";
  }

  void reduction(std::string& out, const Node& n, const Names& names, const std::vector<std::string>& operands,
                 const std::vector<std::string>& operand_types, const std::vector<std::string>& result_types, const std::vector<Written>& extra,
                 int indent) {
    const size_t k = operands.size() / 2;
    const Graph& body = *n.regions[0];
    out += "stablehlo.reduce(";
    for (size_t i = 0; i < k; ++i) out += (i ? ", (" : "") + operands[i] + " init: " + operands[k + i] + ")";
    const std::string_view applies = reduction_body(body);
    const bool plain = !applies.empty() && n.captures == 0 && k == 1 && body.nodes[0].inputs[0] == body.inputs[0] && !body.nodes[0].origin &&
                       body.nodes[0].location.empty() && operand_types[1] == type_text(body.type(body.inputs[0])) &&
                       body.type(body.inputs[0]) == body.type(body.outputs[0]) && body.at(body.outputs[0]).name.empty();
    if (plain) out += " applies stablehlo." + std::string(applies);
    out += " across dimensions = " + bracketed(n.attrs.ints("dimensions"));
    std::vector<Written> attrs = generic_attributes(*n.op, n.attrs, {"dimensions"});
    attrs.insert(attrs.end(), extra.begin(), extra.end());
    if (!attrs.empty()) out += " " + dictionary(attrs);
    out += " : " + functional(operand_types, result_types);
    if (plain) return;
    std::vector<std::string> arguments, types;
    Names inner = region_names(n, body, names, arguments, types);
    const std::string margin(static_cast<size_t>(indent), ' ');
    out += "\n" + margin + " reducer";
    for (size_t i = 0; i < k; ++i) out += "(" + arguments[i] + ": " + types[i] + ", " + arguments[k + i] + ": " + types[k + i] + ") ";
    out += "{\n";
    nodes(out, body, inner, indent + 2);
    terminator(out, body, inner, indent + 2, "stablehlo.return");
    out += margin + "}";
  }

  // stablehlo.composite "bascule.softmax" %0 {composite_attributes = {...}, decomposition = @softmax_0} : (T) -> T
  bool composite(std::string& out, const Graph& g, const Node& n, const std::vector<std::string>& operands,
                 const std::vector<std::string>& operand_types, const std::vector<std::string>& result_types, std::vector<Written> extra) {
    std::vector<Type> types;
    Builder b(std::string(n.op->name));
    b.blame = ErrorKind::internal;
    b.where = std::string(n.op->name);
    Values inputs;
    for (size_t i = 0; i < n.operands(); ++i) {
      const Value v = n.inputs[i];
      types.push_back(v ? g.type(v) : absent_type());
      inputs.push_back(v ? b.input(g.type(v), "") : kNoValue);
    }
    const OpView view{*n.op, n.attrs, types, n.regions, {}, b.where, ErrorKind::internal};
    Graph decomposition;
    try {
      decomposition = b.finish(n.op->decompose(b, view, inputs));
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::capacity) throw;
      return false;  // printed in generic form, as operators without a decomposition are
    }
    if (decomposition.outputs.size() != n.outputs.size()) return false;
    std::vector<Written> attrs;
    for (const auto& [name, a] : n.attrs)
      if (!hidden(*n.op, name, a)) attrs.push_back({name, attribute_text(name, a)});
    std::vector<Written> own;
    for (const Written& w : extra) (w.name == "bascule.present" ? attrs : own).push_back(w);
    const std::string key = std::string(n.op->name) + dictionary(attrs) + functional(operand_types, result_types);
    auto known = composites_.find(key);
    if (known == composites_.end()) {
      const std::string name = std::string(n.op->name) + "_" + std::to_string(composites_.size());
      known = composites_.emplace(key, name).first;
      std::string text;
      function(text, decomposition, name, false);
      functions_.push_back(std::move(text));
    }
    if (!attrs.empty()) own.push_back({"composite_attributes", dictionary(attrs)});
    own.push_back({"decomposition", symbol_text(known->second)});
    out += "stablehlo.composite \"bascule." + std::string(n.op->name) + "\"" + (operands.empty() ? "" : " ") + list_of(operands) + " " +
           dictionary(own) + " : " + functional(operand_types, result_types);
    return true;
  }

  // By the table; false where the form cannot hold what the node has (symbolic sizes inside brackets, more attributes than it shows).
  bool pretty(std::string& out, const std::string& name, const Node& n, const std::vector<std::string>& operands,
              const std::vector<std::string>& operand_types, const std::vector<std::string>& result_types, const std::vector<Written>& extra) {
    const Form* form = find_form(name);
    if (!form || operands.size() < static_cast<size_t>(std::count(form->pieces.begin(), form->pieces.end(), '%')) -
                                       (form->pieces.find("%*") != std::string_view::npos))
      return false;
    const auto pieces = split_pieces(form->pieces);
    const Attrs& attrs = n.attrs;
    std::string text = name;
    std::set<std::string_view> done;
    size_t next = 0;
    bool skipping = false;
    const auto emit = [&](const std::string& s) {
      const bool tight = s == "," || s == ")" || s == "]" || s == "[" || text.back() == '(' || text.back() == '[' || (s == "(" && text == name);
      text += (tight ? "" : " ") + s;
    };
    const auto as_ints = [&](std::string_view attr) -> std::optional<Ints> {
      const Attr* a = attrs.find(attr);
      if (!a) return std::nullopt;
      if (const auto* v = std::get_if<Ints>(a)) return *v;
      if (const auto* v = std::get_if<Dims>(a)) return constants(*v);
      return std::nullopt;
    };
    for (size_t i = 0; i < pieces.size(); ++i) {
      const std::string_view piece = pieces[i];
      if (piece == ")?") {
        skipping = false;
        continue;
      }
      if (skipping) continue;
      if (piece == "?(") {
        skipping = true;
        for (size_t k = i + 1; pieces[k] != ")?"; ++k) {
          if (pieces[k][0] != '$') continue;
          const std::string_view attr = pieces[k].substr(1, pieces[k].size() - 3);
          if (const Attr* a = attrs.find(attr); a && !hidden(*n.op, attr, *a)) skipping = false;
        }
        continue;
      }
      if (piece == ":" && i + 1 < pieces.size()) {
        text += " : " + types(pieces[++i][0], operand_types, result_types);
        continue;
      }
      switch (piece[0]) {
        case '%':
          if (piece == "%*") {
            if (next < operands.size()) emit(list_of({operands.begin() + static_cast<int64_t>(next), operands.end()}));
            next = operands.size();
          } else {
            emit(operands[next++]);
          }
          continue;
        case '$': {
          const std::string_view attr = piece.substr(1, piece.size() - 3);
          done.insert(attr);
          const Attr* a = attrs.find(attr);
          if (!a) return false;
          switch (piece.back()) {
            case 'w':
              if (!is_identifier(std::get<std::string>(*a))) return false;
              emit(std::get<std::string>(*a));
              break;
            case 'W': {
              std::string list = "[";
              for (const std::string& s : std::get<Texts>(*a)) list += (list.size() > 1 ? ", " : "") + s;
              emit(list + "]");
              break;
            }
            case 'l': {
              const auto v = as_ints(attr);
              if (!v) return false;
              emit(bracketed(*v));
              break;
            }
            case 'i': emit(std::to_string(std::get<int64_t>(*a))); break;
            case 'n': emit(number_text(std::get<double>(*a))); break;
            case 'b': emit(std::get<bool>(*a) ? "true" : "false"); break;
            default:
              if (kind(*a) != AttrKind::text || !std::get<std::string>(*a).starts_with("<")) return false;
              emit(std::get<std::string>(*a));
          }
          continue;
        }
        case '&':
          if (!special(text, piece.substr(1), attrs, done, as_ints)) return false;
          continue;
        case '{':
          if (piece == "{}") {
            std::vector<Written> rest = generic_attributes(*n.op, attrs, piece_done(name, done));
            rest.insert(rest.end(), extra.begin(), extra.end());
            if (!rest.empty()) text += " " + dictionary(rest);
            continue;
          }
          break;
        default: break;
      }
      emit(std::string(piece));
    }
    out += text;
    return true;
  }

  // The attributes written by a form's other pieces, also those after the dictionary.
  static std::set<std::string_view> piece_done(std::string_view name, std::set<std::string_view> done) {
    if (name == "stablehlo.constant") done.insert("value");
    if (name == "stablehlo.dot_general")
      done.insert({"lhs_batching_dimensions", "rhs_batching_dimensions", "lhs_contracting_dimensions", "rhs_contracting_dimensions"});
    return done;
  }

  template <class AsInts>
  bool special(std::string& text, std::string_view what, const Attrs& attrs, std::set<std::string_view>& done, const AsInts& as_ints) const {
    if (what == "value") {
      text += " " + tensor_text(attrs.tensor("value"), options_.largest_constant);
      done.insert("value");
    } else if (what == "precision") {
      text += " e" + std::to_string(attrs.integer("exponent_bits")) + "m" + std::to_string(attrs.integer("mantissa_bits"));
      done.insert({"exponent_bits", "mantissa_bits"});
    } else if (what == "ranges") {
      const auto start = as_ints("start_indices"), limit = as_ints("limit_indices"), strides = as_ints("strides");
      if (!start || !limit || !strides || start->size() != limit->size() || start->size() != strides->size()) return false;
      text += " [";
      for (size_t i = 0; i < start->size(); ++i) {
        text += (i ? ", " : "") + std::to_string((*start)[i]) + ":" + std::to_string((*limit)[i]);
        if ((*strides)[i] != 1) text += ":" + std::to_string((*strides)[i]);
      }
      text += "]";
      done.insert({"start_indices", "limit_indices", "strides"});
    } else if (what == "conv") {
      text += " " + convolution_text(attrs);
      for (const StructAttribute& s : struct_attributes())
        if (s.op == "convolution")
          for (const std::string_view f : split_pieces(s.fields)) done.insert(f);
    } else if (what == "window") {
      std::string inside;
      const auto part = [&](const char* key, const char* attr) {
        done.insert(attr);
        const auto v = as_ints(attr);
        if (v && !v->empty()) inside += (inside.empty() ? "" : ", ") + std::string(key) + " = " + bracketed(*v);
        return v || !attrs.has(attr);
      };
      const auto low = as_ints("padding_low"), high = as_ints("padding_high");
      if (!part("stride", "window_strides") || !low || !high || low->size() != high->size()) return false;
      done.insert({"padding_low", "padding_high"});
      if (!low->empty()) {
        inside += inside.empty() ? "pad = [" : ", pad = [";
        for (size_t i = 0; i < low->size(); ++i) inside += (i ? ", [" : "[") + std::to_string((*low)[i]) + ", " + std::to_string((*high)[i]) + "]";
        inside += "]";
      }
      if (!part("lhs_dilate", "lhs_dilation") || !part("rhs_dilate", "rhs_dilation")) return false;
      done.insert("window_reversal");
      if (const auto v = as_ints("window_reversal"); v && !v->empty()) {
        inside += inside.empty() ? "reverse = [" : ", reverse = [";
        for (size_t i = 0; i < v->size(); ++i) inside += (i ? ", " : "") + std::string((*v)[i] ? "true" : "false");
        inside += "]";
      }
      text += " {" + inside + "}";
    } else {
      return false;
    }
    return true;
  }

  static std::string types(char shape, const std::vector<std::string>& in, const std::vector<std::string>& out) {
    const auto alike = [&](size_t from) {
      for (size_t i = from; i < in.size(); ++i)
        if (in[i] != out[0]) return false;
      return out.size() == 1;
    };
    switch (shape) {
      case 'S': return alike(0) ? out[0] : functional(in, out);
      case 'T': return out.size() == 1 ? out[0] : functional(in, out);
      case 'V': return list_of(out);
      case 'P': return in.size() == 3 && alike(1) ? in[0] + ", " + out[0] : functional(in, out);
      case 'A': return list_of(in) + " -> " + (out.size() == 1 ? out[0] : "(" + list_of(out) + ")");
      case 'R': return list_of(in);
      default: return functional(in, out);
    }
  }

  PrintOptions options_;
  std::set<std::string> used_;  // names in the function being printed
  int next_ = 0, next_argument_ = 0;
  std::map<std::string, std::string> composites_;
  std::vector<std::string> functions_;
};

}  // namespace

bool is_value_name(std::string_view name) {
  if (!is_identifier(name)) return false;
  if (!name.starts_with("arg") || name.size() == 3) return true;
  return !std::all_of(name.begin() + 3, name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace bascule::mlir

namespace bascule {
std::string print(const Graph& g, const PrintOptions& options) { return mlir::Printer(options).module(g); }
}  // namespace bascule
