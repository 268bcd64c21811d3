//! The dependency rule of the house (see the table in `src/lib.rs`) and its other written rules.
//!
//! A room imports only from rooms below it, or sideways where it is listed here. Tests inside `src/` obey
//! the rule too: a test that needs an upper room belongs into `tests/`.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// Each room with its floor; a room may import from lower numbers.
const FLOORS: [(&str, u8); 17] = [
    ("api", 5),
    ("cli", 5),
    ("config", 5),
    ("console", 5),
    ("call", 4),
    ("media", 3),
    ("net", 3),
    ("providers", 3),
    ("store", 3),
    ("tools", 3),
    ("agent", 2),
    ("turn", 2),
    ("audio", 1),
    ("rtp", 1),
    ("sdp", 1),
    ("sip", 1),
    ("base", 0),
];

/// Imports within a floor that are meant: who, from whom.
const SIDEWAYS: [(&str, &str); 3] = [("api", "config"), ("cli", "config"), ("console", "api")];

/// Module names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = ["common", "helper", "helpers", "manager", "misc", "types", "util", "utils"];

/// Lines above which a file is split, or says on its first line why not.
const LINES_MAX: usize = 800;

#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Breach {
    file: PathBuf,
    line: usize,
    what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// The text with comments and string contents blanked, so that only code is left; lines stay where they are.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let blank = |code: &mut String, part: &str| code.extend(part.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(length) = raw_string(rest).filter(|_| !ends_in_word(&code)) {
            length
        } else if first == '"' {
            quoted(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest[1..].find("'").map_or(1, |end| end + 2)
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        blank(&mut code, &rest[..length]);
        rest = &rest[length..];
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.ends_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The length of a raw string literal at the start of `rest`.
fn raw_string(rest: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].into_iter().find(|prefix| rest.starts_with(prefix))?;
    let hashes = rest[prefix.len()..].bytes().take_while(|byte| *byte == b'#').count();
    let open = prefix.len() + hashes;
    rest[open..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(rest[open + 1..].find(&close).map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// The length of a quoted string literal at the start of `rest`.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Rooms that a file mentions as `crate::room` or `super::…::room`, also inside nested `use` groups, with
/// their lines. `folder` is the module path of the file, `["sip", "header"]` for `src/sip/header/via.rs`
/// and its submodule `via` included where it has one.
fn rooms_mentioned(code: &str, module: &[String]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let line_of = |at: usize| code[..at].matches('\n').count() + 1;
    for (at, _) in code.match_indices("crate") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(path) = code[at + "crate".len()..].trim_start().strip_prefix("::") else { continue };
        found.extend(first_segments(path).into_iter().map(|room| (line_of(at), room)));
    }
    // `super::super::…` up to the root is the same as `crate::…`.
    let climbs: String = "super::".repeat(module.len());
    if !module.is_empty() {
        for (at, _) in code.match_indices(&climbs) {
            let rest = &code[at + climbs.len()..];
            if !code[..at].ends_with("super::") && !rest.starts_with("super::") {
                found.extend(first_segments(rest).into_iter().map(|room| (line_of(at), room)));
            }
        }
    }
    found
}

/// The first path segments after `crate::`: one, or those of each branch of a `{…}` group.
fn first_segments(path: &str) -> Vec<String> {
    let path = path.trim_start();
    let word = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let Some(group) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut depth = 0;
    let mut branches = Vec::new();
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                branches.push(&group[start..at]);
                start = at + 1;
            }
            '}' => {
                branches.push(&group[start..at]);
                break;
            }
            _ => {}
        }
    }
    branches.iter().map(|branch| word(branch.trim_start())).filter(|name| !name.is_empty()).collect()
}

fn floor(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// Why `from` may not import `to`.
fn forbidden(from: &str, to: &str) -> Option<String> {
    let (own, other) = (floor(from)?, floor(to)?);
    if from == to || other < own || SIDEWAYS.contains(&(from, to)) {
        return None;
    }
    let direction = if other > own { "upward" } else { "sideways" };
    Some(format!("room `{from}` imports {direction} from `{to}`"))
}

/// The module path of a source file: `src/sip/header/via.rs` is `["sip", "header", "via"]`.
fn module_of(file: &Path) -> Vec<String> {
    let mut module: Vec<String> =
        file.with_extension("").iter().skip(1).map(|part| part.to_string_lossy().into_owned()).collect();
    if module.last().is_some_and(|last| ["mod", "lib", "main"].contains(&last.as_str())) {
        module.pop();
    }
    module
}

fn check_source(file: &Path, text: &str) -> Vec<Breach> {
    let breach = |line, what| Breach { file: file.to_owned(), line, what };
    let mut breaches = Vec::new();
    let module = module_of(file);
    let code = code_of(text);
    if file.starts_with("src") {
        if let Some(room) = module.first() {
            if floor(room).is_none() {
                breaches.push(breach(1, format!("room `{room}` has no floor in tests/layers.rs")));
            }
            for (line, other) in rooms_mentioned(&code, &module) {
                breaches.extend(forbidden(room, &other).map(|what| breach(line, what)));
            }
        }
        for name in module.iter().filter(|name| EMPTY_NAMES.contains(&name.as_str())) {
            breaches.push(breach(1, format!("`{name}` says nothing about what is inside")));
        }
        for (index, line) in code.lines().enumerate() {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
            if words.any(|word| word == "mod")
                && let Some(name) = words.next()
                && EMPTY_NAMES.contains(&name)
            {
                breaches.push(breach(index + 1, format!("module `{name}` says nothing about what is inside")));
            }
        }
    }
    for (index, line) in code.lines().enumerate() {
        for stub in ["todo!", "unimplemented!"] {
            if line.contains(stub) {
                breaches.push(breach(index + 1, format!("`{stub}` is work not done")));
            }
        }
        // With the vendors' own SDKs: `make test-sdk` runs them.
        let is_with_sdk = file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("sdk_"));
        if line.contains("#[ignore") && !is_with_sdk {
            breaches.push(breach(index + 1, "a test that does not run".to_owned()));
        }
    }
    let lines = text.lines().count();
    let reason = text.lines().next().is_some_and(|first| first.contains("lines because"));
    if lines > LINES_MAX && !reason {
        let what = format!("{lines} lines: split the file, or write `N lines because …` on its first line");
        breaches.push(breach(lines, what));
    }
    breaches
}

/// Things of one machine that mean nothing on another.
fn check_places(file: &Path, text: &str) -> Vec<Breach> {
    // Put together here, so that this file does not find itself.
    let places =
        [["/wo", "rk/"].concat(), ["/tmp", "/dl"].concat(), ["/tmp", "/models"].concat(), ["/tmp", "/briefs"].concat()];
    let mut breaches = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for place in &places {
            for (at, _) in line.match_indices(place.as_str()) {
                // `https://example.com/work/` and `./work/` are not paths of the machine.
                let before = line[..at].chars().next_back();
                if before.is_none_or(|c| !c.is_alphanumeric() && !"._-}/".contains(c)) {
                    breaches.push(Breach {
                        file: file.to_owned(),
                        line: index + 1,
                        what: format!("a path of one machine, {place}…"),
                    });
                }
            }
        }
        for host in registry_hosts(line) {
            let what = format!("{host} is a registry mirror of one place; public registries need no address");
            breaches.push(Breach { file: file.to_owned(), line: index + 1, what });
        }
    }
    breaches
}

/// Hosts of package indexes in a line, the public ones left out.
fn registry_hosts(line: &str) -> Vec<String> {
    let public = ["index.crates.io", "static.crates.io", "crates.io", "pypi.org", "docs.rs", "registry.npmjs.org"];
    let mut hosts = Vec::new();
    for scheme in ["https://", "http://", "sparse+https://", "sparse+http://"] {
        for (at, _) in line.match_indices(scheme) {
            let host: String = line[at + scheme.len()..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || "-.".contains(*c))
                .collect();
            let suspicious = ["registry", "mirror", "artifact", "nexus", "crates-io", "pypi", "proxy", "index."]
                .iter()
                .any(|mark| host.contains(mark));
            if suspicious && !public.contains(&host.as_str()) && !host.ends_with(".example") {
                hosts.push(host);
            }
        }
    }
    hosts
}

/// Every file of the project that is or will be in version control: what git lists, or without git
/// everything beside the build products.
fn project_files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root)
        .output();
    match listed {
        Ok(output) if output.status.success() && !output.stdout.is_empty() => String::from_utf8_lossy(&output.stdout)
            .split('\0')
            .filter(|name| !name.is_empty())
            .map(PathBuf::from)
            .filter(|file| root.join(file).is_file())
            .collect(),
        _ => {
            let mut files = Vec::new();
            let mut folders = vec![root.to_owned()];
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(&folder).unwrap().flatten() {
                    let path = entry.path();
                    let name = entry.file_name();
                    if path.is_dir() && !["target", ".git", "models", "corpus"].iter().any(|skip| name == *skip) {
                        folders.push(path);
                    } else if path.is_file() {
                        files.push(path.strip_prefix(root).unwrap().to_owned());
                    }
                }
            }
            files
        }
    }
}

fn read(file: &Path) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).ok()
}

fn assert_none(breaches: Vec<Breach>) {
    let mut breaches = breaches;
    breaches.sort();
    let text: Vec<_> = breaches.iter().map(ToString::to_string).collect();
    assert!(text.is_empty(), "{} breaches:\n{}", text.len(), text.join("\n"));
}

#[test]
fn rooms_import_only_from_lower_floors_and_files_keep_the_house_rules() {
    let sources: Vec<_> = project_files()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|file| Some((read(&file)?, file)))
        .collect();
    assert!(sources.len() > 20, "the sources were not found");
    assert_none(sources.iter().flat_map(|(text, file)| check_source(file, text)).collect());
}

#[test]
fn no_file_names_a_path_or_registry_of_one_machine() {
    let files: Vec<_> = project_files().into_iter().filter_map(|file| Some((read(&file)?, file))).collect();
    assert_none(files.iter().flat_map(|(text, file)| check_places(file, text)).collect());
}

#[test]
fn every_room_of_the_crate_has_a_floor_and_a_line_in_the_table() {
    let map = read(Path::new("src/lib.rs")).unwrap();
    let rooms: BTreeSet<_> =
        map.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect();
    assert!(rooms.len() >= 13);
    for room in rooms {
        assert!(floor(&room).is_some(), "room `{room}` has no floor in tests/layers.rs");
        assert!(map.contains(&format!("[`{room}`]")), "room `{room}` is not in the table of src/lib.rs");
    }
}

mod the_checks_can_fail {
    use super::*;

    fn breaches(file: &str, text: &str) -> Vec<(usize, String)> {
        check_source(Path::new(file), text).into_iter().map(|breach| (breach.line, breach.what)).collect()
    }

    fn edges(file: &str, text: &str) -> Vec<usize> {
        breaches(file, text).into_iter().map(|(line, _)| line).collect()
    }

    #[test]
    fn an_upward_import_is_found_in_every_way_to_write_it() {
        for text in [
            "use crate::call::Session;",
            "use crate::{base::Pii, call::Session};",
            "use crate::{\n    base::{Pii, CallId},\n    call::{Session},\n};",
            "pub use crate::call;",
            "fn x() -> crate::call::Session { crate :: call::Session }",
            "use super::call::Session;",
            "use super::{base::Pii, call::Session};",
            "#[cfg(test)]\nmod tests {\n    use crate::call::Session;\n}",
        ] {
            assert!(!breaches("src/agent/mod.rs", text).is_empty(), "{text}");
        }
        assert_eq!(edges("src/sip/header/via.rs", "\nuse super::super::super::net::Udp;"), [2]);
    }

    #[test]
    fn a_sideways_import_is_found_and_a_listed_one_is_not() {
        assert_eq!(edges("src/agent/mod.rs", "use crate::turn::Ledger;"), [1]);
        assert_eq!(edges("src/media/wheel.rs", "use crate::net::Udp;"), [1]);
        assert_eq!(edges("src/config/mod.rs", "use crate::cli::Args;"), [1]);
        assert!(breaches("src/cli/serve.rs", "use crate::config::Config;").is_empty());
    }

    #[test]
    fn imports_downward_and_within_the_room_pass() {
        for (file, text) in [
            ("src/media/wheel.rs", "use crate::{audio::Frame, base::Pii, rtp::Packet};"),
            ("src/call/session.rs", "use crate::{media, net, providers, tools, agent, turn};"),
            ("src/sip/header/via.rs", "use crate::sip::uri::Uri; use super::super::uri; use super::call;"),
            ("src/agent/mod.rs", "// use crate::call::Session;\n/* crate::call */ const X: &str = \"crate::call::x\";"),
            ("src/agent/mod.rs", "const X: &str = r#\"a \" crate::call::x\"#; const Q: char = '\"'; use crate::base;"),
            ("src/lib.rs", "pub use crate::call::Session;"),
        ] {
            assert_eq!(breaches(file, text), [], "{text}");
        }
    }

    #[test]
    fn a_string_does_not_hide_the_code_after_it() {
        let text = "const A: char = '\"'; const B: &str = \"\\\"\"; const C: &str = r\"\\\"; use crate::call::Session;";
        assert_eq!(edges("src/agent/mod.rs", text), [1]);
    }

    #[test]
    fn stubs_empty_names_long_files_and_unknown_rooms_are_found() {
        let stub = ["to", "do!()"].concat();
        assert_eq!(edges("src/sip/mod.rs", &format!("\nfn x() {{ {stub} }}")), [2]);
        assert_eq!(edges("tests/x.rs", &["un", "implemented!()"].concat()), [1]);
        assert_eq!(edges("tests/x.rs", &["#[ig", "nore]"].concat()), [1]);
        assert_eq!(edges("src/sip/utils.rs", ""), [1]);
        assert_eq!(edges("src/sip/helpers/mod.rs", ""), [1]);
        assert_eq!(edges("src/sip/mod.rs", "pub mod types;"), [1]);
        assert_eq!(edges("src/attic/mod.rs", ""), [1]);
        let long = "//\n".repeat(LINES_MAX + 1);
        assert_eq!(edges("src/sip/mod.rs", &long), [LINES_MAX + 1]);
        assert!(breaches("src/sip/mod.rs", &format!("//! 801 lines because of a table.\n{long}")).is_empty());
    }

    #[test]
    fn paths_and_registries_of_one_machine_are_found() {
        let find = |text: &str| check_places(Path::new("README.md"), text).len();
        assert_eq!(find(&["see /wo", "rk/shared"].concat()), 1);
        assert_eq!(find(&["MODELS=/tmp", "/models"].concat()), 1);
        assert_eq!(find(&["--index-url http:", "//pypi-mirror.inner:8080/simple"].concat()), 1);
        assert_eq!(find("https://index.crates.io/ https://github.com/x/work/y ./work/ https://proxy.example/"), 0);
    }
}

#[test]
fn every_fuzz_target_has_seeds_to_begin_with() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for target in std::fs::read_dir(root.join("fuzz_targets")).unwrap().flatten() {
        let seeds = root.join("seeds").join(target.path().file_stem().unwrap());
        assert!(
            std::fs::read_dir(&seeds).is_ok_and(|mut seeds| seeds.next().is_some()),
            "{} is missing or empty",
            seeds.display()
        );
    }
}
