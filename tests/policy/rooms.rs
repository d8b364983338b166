//! Rules for the modules of `src/`: no circles of imports and no long files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The maximum number of lines of a file without its test module.
const MOST_LINES: usize = 300;

/// The segments of a path. For a module, they begin below the crate root: `["store", "sqlite"]`.
type Segments = Vec<String>;

/// For each module, the modules that it imports.
type Graph = BTreeMap<Segments, BTreeSet<Segments>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The module of a file, given by its path below `src/`.
fn module_of(file: &Path) -> Segments {
    let path = file.with_extension("");
    let mut segments: Segments = path.iter().map(|segment| segment.to_str().unwrap().to_owned()).collect();
    if segments.last().is_some_and(|last| ["lib", "main", "mod"].contains(&last.as_str())) {
        segments.pop();
    }
    segments
}

/// The lines of each file below `src/` before its test module. Files of test modules are left out.
fn sources() -> BTreeMap<PathBuf, Vec<String>> {
    let mut found = Vec::new();
    files(&root(), &mut found);
    let mut sources = BTreeMap::new();
    for file in found {
        let inside = file.strip_prefix(root()).unwrap().to_owned();
        if !module_of(&inside).iter().any(|segment| segment == "tests") {
            sources.insert(inside, without_tests(&std::fs::read_to_string(&file).unwrap()));
        }
    }
    assert!(sources.len() > 200, "the sources were found");
    sources
}

/// The lines before the test module at the end of the file. `mod tests;` above other code ends nothing.
fn without_tests(source: &str) -> Vec<String> {
    let lines: Vec<String> = source.lines().map(str::to_owned).collect();
    let begins_tests = |n: &usize| {
        let is_module = |line: &String| line.starts_with("mod ") && (line.ends_with('{') || *n + 2 == lines.len());
        lines[*n] == "#[cfg(test)]" && lines.get(n + 1).is_some_and(is_module)
    };
    let mut end = (0..lines.len()).find(begins_tests).unwrap_or(lines.len());
    while end > 0 && lines[end - 1].is_empty() {
        end -= 1;
    }
    lines[..end].to_vec()
}

/// The names and signs of the code. `::` is one token; comments and spaces are none.
fn tokens(lines: &[String]) -> Vec<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    for line in lines {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next().filter(|_| !rest.starts_with("//")) {
            let length = match first {
                // The `//` of a URL begins no comment.
                ':' if rest.starts_with("://") => 3,
                ':' if rest.starts_with("::") => 2,
                c if is_name(c) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            tokens.push(&rest[..length]);
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Reads the path or use tree that begins at a token. Returns the position after it.
fn read_tree(tokens: &[&str], mut at: usize, prefix: &[String], paths: &mut Vec<Segments>) -> usize {
    let token = |at: usize| tokens.get(at).copied().unwrap_or("");
    let mut path = prefix.to_vec();
    while is_name(token(at)) {
        path.push(token(at).to_owned());
        at += 1;
        if token(at) != "::" {
            paths.push(path);
            return at;
        }
        at += 1;
    }
    if token(at) != "{" {
        // A comma may stand before the end of a group.
        paths.extend((token(at) != "}").then_some(path));
        return at;
    }
    while !["}", ""].contains(&token(at)) {
        at = read_tree(tokens, at + 1, &path, paths);
        while ![",", "}", ""].contains(&token(at)) {
            at += 1;
        }
    }
    at + 1
}

/// The paths that a file imports: use trees and inline paths. Of an inline path without prefix, [`resolve`] finds the child
/// module that it begins with, if any. Re-exports, visibilities and imports of tests are left out.
fn imports(lines: &[String]) -> Vec<Segments> {
    let tokens = tokens(lines);
    let mut imports = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = &tokens[..at];
        let is_followed_by = |next: &str| tokens.get(at + 1).is_some_and(|token| *token == next);
        let is_visibility = before.ends_with(&["(", "in"]);
        if tokens[at] == "use" && !is_followed_by("<") {
            let mut paths = Vec::new();
            at = read_tree(&tokens, at + 1, &[], &mut paths);
            let is_left_out = before.ends_with(&["pub"])
                || before.ends_with(&[")"])
                || before.ends_with(&["#", "[", "cfg", "(", "test", ")", "]"]);
            imports.extend(paths.into_iter().filter(|_| !is_left_out));
        } else if is_name(tokens[at]) && is_followed_by("::") && !before.ends_with(&["::"]) && !is_visibility {
            at = read_tree(&tokens, at, &[], &mut imports);
        } else {
            at += 1;
        }
    }
    imports
}

/// The longest module of a path that is written in the module `from`. `None`: a path of another crate.
fn resolve<M>(path: &[String], from: &[String], modules: &BTreeMap<Segments, M>) -> Option<Segments> {
    let mut target = from.to_vec();
    for (n, segment) in path.iter().enumerate() {
        match segment.as_str() {
            "crate" => target.clear(),
            "super" => drop(target.pop()),
            "self" => {}
            name => {
                target.push(name.to_owned());
                if n == 0 && !modules.contains_key(&target) {
                    return None;
                }
            }
        }
    }
    while !modules.contains_key(&target) {
        target.pop()?;
    }
    Some(target)
}

fn graph(modules: &BTreeMap<Segments, Vec<String>>) -> Graph {
    let targets = |module: &Segments, lines: &[String]| {
        let paths = imports(lines).into_iter();
        paths.filter_map(|path| resolve(&path, module, modules)).filter(|target| target != module).collect()
    };
    modules.iter().map(|(module, lines)| (module.clone(), targets(module, lines))).collect()
}

/// The modules that a module imports, directly or through others.
fn reachable<'a>(graph: &'a Graph, from: &Segments) -> BTreeSet<&'a Segments> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Segments> = graph[from].iter().collect();
    while let Some(module) = open.pop() {
        if reached.insert(module) {
            open.extend(&graph[module]);
        }
    }
    reached
}

/// The strongly connected components of more than one module.
fn circles(graph: &Graph) -> BTreeSet<BTreeSet<&Segments>> {
    let reached: BTreeMap<&Segments, _> = graph.keys().map(|module| (module, reachable(graph, module))).collect();
    let circle_of = |module: &Segments| {
        let others = reached[module].iter().copied();
        others.filter(|other| reached[other].contains(module)).collect::<BTreeSet<_>>()
    };
    graph.keys().map(circle_of).filter(|circle| !circle.is_empty()).collect()
}

/// The modules of a circle, each with its imports inside of the circle.
fn described(circle: &BTreeSet<&Segments>, graph: &Graph) -> String {
    let name = |module: &Segments| if module.is_empty() { "crate".to_owned() } else { module.join("::") };
    let line = |module: &&Segments| {
        let inside: Vec<String> = graph[*module].iter().filter(|to| circle.contains(to)).map(name).collect();
        format!("  {} imports {}", name(module), inside.join(", "))
    };
    circle.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_circle_of_imports() {
    let files = sources().into_iter().filter(|(file, _)| file != Path::new("main.rs"));
    let graph = graph(&files.map(|(file, lines)| (module_of(&file), lines)).collect());
    assert!(graph.values().map(BTreeSet::len).sum::<usize>() > 500, "the imports were found");
    let circles: Vec<String> = circles(&graph).iter().map(|circle| described(circle, &graph)).collect();
    assert!(circles.is_empty(), "circles of imports ({}):\n{}", circles.len(), circles.join("\n\n"));
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter(|(_, lines)| lines.len() > MOST_LINES);
    let long: Vec<String> = long.map(|(file, lines)| format!("{}: {} lines", file.display(), lines.len())).collect();
    assert!(long.is_empty(), "more than {MOST_LINES} lines without tests:\n{}", long.join("\n"));
}

#[test]
fn the_reader_of_use_trees_sees_groups_and_paths() {
    let source = "pub(crate) use super::hidden;\n#[cfg(test)]\nuse crate::hidden;\n\
        use crate::{a::{self, B as C}, d::*}; // crate::hidden\nuse super::super::{e, f,};\nuse g;\n\
        impl H for crate::i::J { pub(in crate::hidden) fn k(l: super::super::m::N<O>) -> \"https://p\" { super::q::R { s: self.t } r::s::<t::U>::v() } }\n\n\
        #[cfg(test)]\nmod tests {\n    use super::hidden;\n}\n";
    let found: Vec<String> = imports(&without_tests(source)).iter().map(|path| path.join("::")).collect();
    let trees = ["crate::a::self", "crate::a::B", "crate::d", "super::super::e", "super::super::f", "g"];
    assert_eq!(found, [&trees[..], &["crate::i::J", "super::super::m::N", "super::q::R", "r::s", "t::U"]].concat());
}

#[test]
fn imports_resolve_to_the_longest_module_and_circles_are_found() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "use b::c::{self, X};\nuse std::b;"),
        ("a/b/mod.rs", "#[cfg(test)]\nmod tests;\nuse super::super::d::Y;"),
        ("a/b/c.rs", "fn e(f: super::super::Z) {}"),
        ("d.rs", "use crate::a::b;\nuse self::Y::V;"),
        ("e/mod.rs", "mod f;\nfn g() { f::h::<d::I>(); tokio::d::j() }"),
        ("e/f.rs", "use super::g;"),
    ];
    let graph =
        graph(&files.iter().map(|(file, source)| (module_of(Path::new(file)), without_tests(source))).collect());
    let described: Vec<String> = circles(&graph).iter().map(|circle| described(circle, &graph)).collect();
    assert_eq!(
        described,
        [
            "  a imports a::b::c\n  a::b::c imports a",
            "  a::b imports d\n  d imports a::b",
            "  e imports e::f\n  e::f imports e"
        ]
    );
}
