// cli/completion.cc — `bascule completion`: shell completion, written from the verbs and options themselves.
#include "base/error.h"
#include "cli/cli.h"

namespace bascule::cli {
namespace {

// Long names of a verb's options: "--input --output".
std::vector<std::string> option_names(const CLI::App& verb) {
  std::vector<std::string> names;
  for (const CLI::Option* o : verb.get_options())
    for (const std::string& name : o->get_lnames()) names.push_back("--" + name);
  return names;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& w : words) out += (out.empty() ? "" : " ") + w;
  return out;
}

std::string bash(const CLI::App& app) {
  std::string verbs, cases;
  for (const CLI::App* v : app.get_subcommands(nullptr)) {
    verbs += (verbs.empty() ? "" : " ") + v->get_name();
    cases += "    " + v->get_name() + ") words=\"" + joined(option_names(*v)) + "\" ;;\n";
  }
  return "_bascule() {\n  local current=\"${COMP_WORDS[COMP_CWORD]}\" words\n"
         "  if [ \"$COMP_CWORD\" = 1 ]; then COMPREPLY=($(compgen -W \"" +
         verbs +
         " --help --version\" -- \"$current\")); return; fi\n"
         "  case \"${COMP_WORDS[1]}\" in\n" +
         cases +
         "  esac\n"
         "  case \"$current\" in -*) COMPREPLY=($(compgen -W \"$words\" -- \"$current\")) ;; *) COMPREPLY=($(compgen -f -- \"$current\")) ;; esac\n"
         "}\ncomplete -o filenames -F _bascule bascule\n";
}

// Text inside single quotes of zsh and fish.
std::string quoted(std::string text) {
  for (const char c : {'\'', '[', ']', ':'})
    for (size_t i = 0; (i = text.find(c, i)) != std::string::npos;) text.replace(i, 1, " ");
  return text.substr(0, text.find('\n'));
}

std::string zsh(const CLI::App& app) {
  std::string verbs, cases;
  for (const CLI::App* v : app.get_subcommands(nullptr)) {
    verbs += "    '" + v->get_name() + ":" + quoted(v->get_description()) + "'\n";
    cases += "    " + v->get_name() + ") _arguments";
    for (const CLI::Option* o : v->get_options())
      for (const std::string& name : o->get_lnames())
        cases += " '--" + name + "[" + quoted(o->get_description()) + "]" + (o->get_items_expected_max() > 0 ? ":value:_files'" : "'");
    cases += " '*:file:_files' ;;\n";
  }
  return "#compdef bascule\n_bascule() {\n  local -a verbs\n  verbs=(\n" + verbs +
         "  )\n  if (( CURRENT == 2 )); then _describe verb verbs; return; fi\n"
         "  local verb=$words[2]\n  shift words\n  (( CURRENT-- ))\n  case $verb in\n" +
         cases + "  esac\n}\ncompdef _bascule bascule\n";
}

std::string fish(const CLI::App& app) {
  std::string out;
  for (const CLI::App* v : app.get_subcommands(nullptr)) {
    out += "complete -c bascule -n __fish_use_subcommand -a " + v->get_name() + " -d '" + quoted(v->get_description()) + "'\n";
    for (const CLI::Option* o : v->get_options())
      for (const std::string& name : o->get_lnames())
        out += "complete -c bascule -n '__fish_seen_subcommand_from " + v->get_name() + "' -l " + name +
               (o->get_items_expected_max() > 0 ? " -r" : "") + " -d '" + quoted(o->get_description()) + "'\n";
  }
  return out;
}

}  // namespace

void add_completion(CLI::App& app, Action& action) {
  CLI::App* verb = app.add_subcommand("completion", "Prints the completion script of a shell");
  auto shell = std::make_shared<std::string>();
  verb->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  verb->footer("Example:\n  bascule completion bash > ~/.local/share/bash-completion/completions/bascule");
  verb->callback([&app, &action, shell] {
    action = [&app, shell] {
      print(*shell == "bash" ? bash(app) : *shell == "zsh" ? zsh(app) : fish(app));
      return 0;
    };
  });
}

}  // namespace bascule::cli
