//! `offhook check`: every mistake is reported at its place, with what would be right.

use offhook::agent::diagnostic::Severity;
use offhook::agent::{Agent, Checked, check};
use offhook::cli::check::{Check, parse_setting, write};
use std::collections::BTreeSet;

/// `line:column message | help` of every problem of one severity.
fn problems(checked: &Checked, severity: Severity) -> Vec<String> {
    let of = checked.report.diagnostics.iter().filter(|d| d.severity == severity);
    of.map(|d| format!("{}:{} {} | {}", d.at.line, d.at.column, d.message, d.help.as_deref().unwrap_or("-"))).collect()
}

fn errors(source: &str) -> Vec<String> {
    problems(&check("test.yaml", source, &[]), Severity::Error)
}

fn warnings(source: &str) -> Vec<String> {
    let checked = check("test.yaml", source, &[]);
    assert_eq!(problems(&checked, Severity::Error), Vec::<String>::new(), "{}", checked.report);
    problems(&checked, Severity::Warning)
}

/// A small good agent; `{}` in it stands for what a test adds.
const SMALL: &str =
    "agent: small\nstart: hello\nnodes:\n  hello:\n    say: Hello.\n    next: end\n  end:\n    hangup: done\n";

#[test]
fn ten_mistakes_are_all_found_in_one_run_each_at_its_place() {
    let path = "tests/data/agents/ten_mistakes.yaml";
    let source = std::fs::read_to_string(path).expect("the file");
    let checked = check(path, &source, &[]);
    assert!(checked.agent.is_none());
    let expected = [
        "2:8 there is no node `wellcome` | did you mean `welcome`?",
        "3:1 unknown key `retires` in an agent file | did you mean `retries`?",
        "6:15 `dat` is not a type | did you mean `date`?",
        "12:10 `{{ host }}` may not stand in a URL | only settings may stand here (`{{ settings.booking_url }}`); values of a call go into `arguments`",
        "16:15 `desk@pbx.example.com` is no SIP URI | such as `sip:desk@pbx.example.com`",
        "19:3 `retries_used_up` leads nowhere: asking again is what has just failed | give `next`, `transfer` or `hangup`",
        "23:19 unknown variable `nmae` | did you mean `name`?",
        "27:5 an `ask` node needs `question` | -",
        "28:5 unknown key `qestion` in this `ask` node | did you mean `question`?",
        "31:3 tool node `booking` does not say what happens when the tool fails | add `on: {error: <node>}`: every tool fails one day",
        "33:5 tool `book` needs the argument `name` | add `name: <expression>` under `with:`",
        "33:12 tool `book` has no argument `nam` | did you mean `name`?",
        "34:17 this condition cannot be read: unexpected end of input, expected expression | -",
        "38:29 unknown filter `shout` | did you mean `sort`?",
    ];
    let found = problems(&checked, Severity::Error);
    let missing: Vec<&&str> = expected.iter().filter(|e| !found.contains(&(**e).to_owned())).collect();
    assert!(missing.is_empty() && found.len() == expected.len(), "missing {missing:#?}\nfound {found:#?}");
}

#[test]
fn a_problem_is_printed_with_its_line_a_caret_and_the_fix() {
    let source = SMALL.replace("hangup: done", "hangpu: done");
    let checked = check("a.yaml", &source, &[]);
    let text = checked.report.render(false);
    assert!(
        text.starts_with(
            "a.yaml:7:3: error: node `end` does nothing\n 7 |   end:\n   |   ^^^\n   help: did you mean `hangup`?\n"
        ),
        "{text}"
    );
    assert!(!text.contains('\x1b'));
}

#[test]
fn an_agent_without_a_response_to_a_failure_is_refused() {
    let several = SMALL.replace("nodes:", "destinations:\n  a: {extension: \"1\"}\n  b: {extension: \"2\"}\nnodes:");
    assert_eq!(
        errors(&several),
        [
            "1:1 there are several destinations: say where a caller who wants a human goes | `on: {wants_human: {transfer: a}}`"
        ]
    );
    for (on, problem) in [
        ("on: {no_match: }", "3:6 `no_match` has no response | say something, or give `next`, `transfer` or `hangup`"),
        ("on: {no_match: {}}", "3:16 this response neither says anything nor leads anywhere | -"),
        (
            "on: {caller_silent: {say: Bye.}}",
            "3:6 `caller_silent` leads nowhere: asking again is what has just failed | give `next`, `transfer` or `hangup`",
        ),
        (
            "on: {provider_down: hello}",
            "3:6 without its provider the agent cannot go on to another node | use `transfer` or `hangup`",
        ),
        ("on: {no_imput: hello}", "3:6 there is no failure `no_imput` | did you mean `no_input`?"),
        (
            "on: {wants_human: {transfer: desk}}",
            "3:30 there is no destination `desk` | the file declares no destination at all",
        ),
    ] {
        let source = SMALL.replacen("nodes:", &format!("{on}\nnodes:"), 1);
        assert_eq!(errors(&source), [problem], "{on}");
    }
}

#[test]
fn defaults_are_applied_and_told() {
    let checked = check("a.yaml", SMALL, &[]);
    let agent = checked.agent.expect("a good agent");
    assert_eq!(agent.on.len(), 11, "every failure has a response");
    for name in
        ["no_input", "no_match", "provider_down", "wants_human", "out_of_scope", "low_confidence", "retries_used_up"]
    {
        assert!(checked.report.defaults.iter().any(|d| d.starts_with(&format!("on.{name}: say"))), "{name}");
    }
}

#[test]
fn what_the_graph_shows_is_a_warning() {
    let unreachable = format!("{SMALL}  lost:\n    say: Nobody hears this.\n    next: end\n");
    assert_eq!(
        warnings(&unreachable),
        ["9:3 node `lost` is never reached | lead to it from another node, or remove it"]
    );
    let no_exit = "agent: a\nstart: q\nvariables: {x: yes_no}\nnodes:\n  q:\n    clear: [x]\n    ask: x\n    question: Well?\n    next: q\n";
    assert_eq!(
        warnings(no_exit),
        ["5:3 from `q` no path leads to the end of the call | lead to a `hangup` or `transfer` node somewhere"]
    );
    let unset = SMALL.replace("Hello.", "Hello {{ x }}.").replace("nodes:", "variables: {x: name}\nnodes:");
    assert_eq!(
        warnings(&unset),
        [
            "5:3 `hello` speaks `x`, which may have no value here | ask for it before, give it a default, or write `{% if x %}`"
        ]
    );
    let unused = SMALL.replace("nodes:", "variables: {x: date}\nsettings: {y: z}\nnodes:");
    assert_eq!(warnings(&unused), ["3:13 variable `x` is never used | -", "4:12 setting `y` is never used | -"]);
}

#[test]
fn a_circle_that_never_waits_is_an_error() {
    let source = "agent: a\nstart: x\nnodes:\n  x: {say: One., next: y}\n  y: {say: Two., next: x}\n";
    assert_eq!(
        errors(source),
        [
            "4:3 `x` comes back to itself without ever waiting for the caller | put a question into the circle, or lead out of it",
            "5:3 `y` comes back to itself without ever waiting for the caller | put a question into the circle, or lead out of it",
        ]
    );
}

#[test]
fn single_mistakes_are_named_plainly() {
    let mut wrong = Vec::new();
    for (source, problem) in [
        ("", "1:1 the file is empty | an agent file starts with `agent: <name>` and has `start:` and `nodes:`"),
        ("- a\n", "1:1 an agent file must be a mapping (`key: value` lines), not a list | -"),
        (
            "agent: a\nstart: x\nnodes:\n  x: {hangup: a, ask: b}\n",
            "4:18 a node does one thing: `hangup` and `ask` exclude each other | make two nodes",
        ),
        (
            &SMALL.replace("Hello.", "Hello {{ name"),
            "5:10 this template cannot be read: unexpected end of input, expected end of variable block | `{{ name }}` inserts a variable, `{{ day | date }}` speaks a day",
        ),
        (
            &SMALL.replace("nodes:", "timezone: Mars/Base\nnodes:"),
            "3:11 there is no time zone `Mars/Base` | such as `Europe/Berlin` or `America/New_York`",
        ),
        (
            &SMALL.replace("nodes:", "language: de\nnodes:"),
            "3:11 `de` is not a language this agent can listen to | use `en-US` or `en-GB`; other languages have no slot grammars",
        ),
        (
            &SMALL.replace("nodes:", "calendars: {c: {munday: 9-5}}\nnodes:"),
            "3:25 these are no opening hours | such as `9:00-12:00, 13:00-17:00` or `closed`",
        ),
        (
            &SMALL.replace("nodes:", "calendars: {c: {someday: 9:00-17:00}}\nnodes:"),
            "3:17 `someday` is no weekday | a weekday, several (`monday-friday`), or `closed` with dates",
        ),
        (
            &SMALL.replace("nodes:", "intents: {i: {label: x}}\nnodes:"),
            "3:11 intent `i` can never be recognised | give `keywords:`, `patterns:` or `examples:`",
        ),
        (
            &SMALL.replace("nodes:", "intents: {i: {patterns: '(', answer: x}}\nnodes:"),
            "3:25 `(` is no regular expression: error: unclosed group | -",
        ),
        (
            &SMALL.replace("nodes:", "tools: {t: {url: 'ftp://x'}}\nnodes:"),
            "3:18 a tool's URL starts with `https://` (or `http://` for services on this machine) | such as `https://api.example.com/bookings` or `{{ settings.booking_url }}/bookings`",
        ),
        (
            &SMALL.replace("nodes:", "tools: {t: {url: 'https://x/{id}'}}\nnodes:"),
            "3:18 `{id}` is no argument with `in: path` | declare it: `arguments: {id: {type: text, in: path}}`",
        ),
        (
            &SMALL.replace("nodes:", "tools: {t: {url: 'https://{id}/x'}}\nnodes:"),
            "3:18 the host of a tool's URL must be written out | no `{argument}` and no user name before the path",
        ),
        (
            &SMALL.replace("nodes:", "variables: {n: {type: number, min: 5, max: 1}}\nnodes:"),
            "3:44 `max` is below `min` (5) | -",
        ),
        (&SMALL.replace("nodes:", "variables: {n: {type: choice}}\nnodes:"), "3:16 choice `n` needs `options` | -"),
        (&SMALL.replace("nodes:", "retries: 99\nnodes:"), "3:10 a number from 1 to 10 is needed here | -"),
    ] {
        let found = errors(source);
        if !found.contains(&problem.to_owned()) {
            wrong.push(format!("expected {problem:?}, found {found:#?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_clinic_is_good_without_a_warning_and_its_settings_can_be_overridden() {
    let source = std::fs::read_to_string("examples/clinic.yaml").expect("the example");
    let checked = check("examples/clinic.yaml", &source, &[]);
    assert!(checked.report.diagnostics.is_empty(), "{}", checked.report);
    let overrides = [parse_setting("booking_url=http://127.0.0.1:9/").expect("a setting")];
    let agent = Agent::load("examples/clinic.yaml", &overrides).expect("a good agent");
    let book = agent.tools.iter().find(|tool| tool.id == "book").expect("the tool");
    assert_eq!(book.url, "http://127.0.0.1:9/bookings");
    assert!(book.confirm);
    let wrong = [("boking_url".to_owned(), "x".to_owned())];
    let message = Agent::load("examples/clinic.yaml", &wrong).expect_err("an unknown setting").to_string();
    assert!(message.contains("did you mean `booking_url`?"), "{message}");
}

#[test]
fn the_command_prints_for_people_and_for_machines() {
    let mut arguments = Check {
        files: vec!["examples/clinic.yaml".into(), "tests/data/agents/ten_mistakes.yaml".into(), "no/such/file".into()],
        json: false,
        verbose: true,
        settings: vec![],
        strict: false,
    };
    let run = |arguments: &Check| {
        let mut out = Vec::new();
        let good = write(arguments, false, &mut out).expect("written");
        (good, String::from_utf8(out).expect("UTF-8"))
    };
    let (good, text) = run(&arguments);
    assert!(!good);
    for part in [
        "examples/clinic.yaml: agent `clinic-receptionist` is good: ",
        "   on.no_input: say \"Are you still there?\"",
        "tests/data/agents/ten_mistakes.yaml:3:1: error: unknown key `retires`",
        "no/such/file:1:1: error: cannot be read: ",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    arguments.json = true;
    let (_, text) = run(&arguments);
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["ok"], &lines[1]["ok"]), (&serde_json::json!(true), &serde_json::json!(false)));
    assert_eq!(lines[1]["diagnostics"][0]["at"], serde_json::json!({"line": 2, "column": 8}));
    arguments.files.truncate(1);
    assert!(run(&arguments).0);
}

/// The page that documents the format: what stands before the code of its module.
fn page() -> String {
    let text = std::fs::read_to_string("src/agent/file/mod.rs").expect("the file");
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_agents_of_the_page_on_the_format_are_good_ones() {
    let page = page();
    let whole: Vec<&str> = page.split("```yaml\n").skip(1).filter(|block| block.starts_with("agent:")).collect();
    assert_eq!(whole.len(), 2);
    for block in whole {
        let source = block.split("```").next().unwrap_or_default();
        assert_eq!(errors(source), Vec::<String>::new());
    }
}

#[test]
fn every_key_of_an_agent_file_is_on_the_page_on_the_format() {
    let page = page();
    let words: BTreeSet<&str> = page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).collect();
    let asked = regex::Regex::new(r#"(?:\.get\(|require\(\s*&?\w+, )"([a-z_]+)""#).expect("a pattern");
    let mut known = BTreeSet::new();
    for entry in std::fs::read_dir("src/agent/file").expect("the directory") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("the file");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        known.extend(asked.captures_iter(code).filter_map(|found| Some(found.get(1)?.as_str().to_owned())));
    }
    assert!(known.len() > 80, "{} keys were found", known.len());
    let missing: Vec<&String> = known.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
