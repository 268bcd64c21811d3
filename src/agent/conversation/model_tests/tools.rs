//! Tool calls of a model: what runs, what is explained, what the caller must agree to.

use super::*;

const ASKED: &str = "
    say: Hello.
    listen
    caller: something please
    think
";

const BOOK: &str = r#"call b book {"time":"15:00","date":"2026-11-24","name":"Anna Berg"}"#;
const READ_BACK: &str =
    "say: Let me read that back. name: Anna Berg, date: Tuesday, November 24th, time: 3:00 PM. Is that right?";
const BOOKING: &str = r#"tool book {"name":"Anna Berg","date":"2026-11-24","time":"15:00"} confirmed"#;

#[test]
fn a_tool_runs_and_the_model_speaks_of_its_answer() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(
        r#"
        call a look {"date":"2026-11-24"}
        finish tools
        say: Let me see.
        tool look {"date":"2026-11-24"}
        answers {"free":["10:00","11:00"]}
        think
        speech: Ten or eleven.
        say: Ten or eleven.
        finish complete
        listen
        caller: ten then
        think
    "#,
    );
    assert_eq!(
        stage.messages()[2..],
        ["agent:  [a look]", r#"a: {"free":["10:00","11:00"]}"#, "agent: Ten or eleven.", "caller: ten then"]
    );
    assert_eq!(stage.value("free"), serde_json::json!(["10:00", "11:00"]));
    let history: Vec<&str> = stage.conversation.memory().history().iter().map(|t| t.text.expose().as_str()).collect();
    assert!(history.contains(&"Let me see."), "the filler is on record: {history:?}");
}

#[test]
fn a_model_that_announces_its_look_up_needs_no_filler() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(
        r#"
        speech: I'll look.
        say: I'll look.
        call a look {"date":"2026-11-24"}
        finish complete
        tool look {"date":"2026-11-24"}
        answers {"free":[]}
        think
    "#,
    );
    assert_eq!(stage.messages()[2], "agent: I'll look. [a look]");
}

#[test]
fn several_calls_run_one_after_the_other() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(
        r#"
        call a look {"date":"2026-11-24"}
        call r remember {"name":"Anna Berg"}
        call b look {"date":"2026-11-25"}
        finish tools
        say: Let me see.
        tool look {"date":"2026-11-24"}
        answers {"free":["10:00"]}
        say: Let me see.
        tool look {"date":"2026-11-25"}
        answers {"free":["11:00"]}
        think
    "#,
    );
    assert_eq!(
        stage.messages()[2..],
        [
            "agent:  [a look] [r remember] [b look]",
            r#"a: {"free":["10:00"]}"#,
            r#"r: {"remembered":{"name":"Anna Berg"}}"#,
            r#"b: {"free":["11:00"]}"#
        ]
    );
    assert_eq!(stage.keys, ["k3y-1", "k3y-2"]);
}

#[test]
fn a_caller_who_talks_while_a_tool_runs_is_asked_for_patience_and_heard_afterwards() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(
        r#"
        call a look {"date":"2026-11-24"}
        finish tools
        say: Let me see.
        tool look {"date":"2026-11-24"}
        caller: or Wednesday
        say: One moment, please.
        answers {"free":["10:00"]}
        think
    "#,
    );
    assert_eq!(stage.messages()[2..], ["agent:  [a look]", r#"a: {"free":["10:00"]}"#, "caller: or Wednesday"]);
}

#[test]
fn a_failed_tool_is_explained_to_the_model_without_the_detail_of_the_log() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(
        r#"
        call a look {"date":"2026-11-24"}
        finish tools
        say: Let me see.
        tool look {"date":"2026-11-24"}
        fails status_409 {"alternatives":["12:00"]}
        think
    "#,
    );
    assert_eq!(stage.messages()[3], r#"a failed: {"error":"status_409","answer":{"alternatives":["12:00"]}}"#);
    assert!(stage.notes.contains(&"tool_error".to_owned()));
}

#[test]
fn an_answer_without_the_declared_result_is_a_failure() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play("call a look {\"date\":\"2026-11-24\"}\nfinish tools\nsay: Let me see.\ntool look {\"date\":\"2026-11-24\"}\nanswers {\"nothing\":1}\nthink");
    assert_eq!(stage.messages()[3], r#"a failed: {"error":"bad_answer"}"#);
}

#[test]
fn an_unknown_tool_is_answered_with_what_there_is() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play("call a dial {\"number\":\"0900 1234\"}\ncall b exit_nowhere\nfinish tools\nthink");
    let there = "There are: look, book, remember, exit_done, exit_menu.";
    assert_eq!(stage.messages()[3], format!(r#"a failed: {{"error":"There is no tool `dial` here. {there}"}}"#));
    assert_eq!(
        stage.messages()[4],
        format!(r#"b failed: {{"error":"There is no tool `exit_nowhere` here. {there}"}}"#)
    );
}

#[test]
fn a_tool_of_another_node_is_unknown_here() {
    let file = CLINIC.replace("tools: [{use: look, filler: Let me see.}, book]", "tools: look");
    let mut stage = Stage::after(&file, ASKED);
    stage.play(&format!("{BOOK}\nfinish tools\nthink"));
    assert!(stage.messages()[3].contains("There is no tool `book` here"), "{:?}", stage.messages());
}

#[test]
fn bad_arguments_are_answered_with_what_would_be_right() {
    for (arguments, what) in [
        ("{}", "`date` is missing: a day as YYYY-MM-DD. Ask the caller if you do not know it."),
        (r#"{"date":"soon"}"#, "`date` must be a day as YYYY-MM-DD."),
        (r#"{"date":20261124}"#, "`date` must be a day as YYYY-MM-DD."),
        (r#"{"date":"2026-11-24","url":"https://evil.example"}"#, "`look` has no argument `url`, only: date."),
    ] {
        let mut stage = Stage::after(CLINIC, ASKED);
        stage.play(&format!("call a look {arguments}\nfinish tools\nthink"));
        assert_eq!(stage.messages()[3], format!("a failed: {}", serde_json::json!({"error": what})));
    }
}

#[test]
fn a_text_that_is_too_long_or_no_single_line_is_refused() {
    for note in ["x".repeat(21), "a\\nb".to_owned()] {
        let mut stage = Stage::after(CLINIC, ASKED);
        stage.play(&format!(
            r#"call b book {{"name":"A","date":"2026-11-24","time":"15:00","note":"{note}"}}{}"#,
            "\nfinish tools\nthink"
        ));
        assert!(stage.messages()[3].contains("`note` must be one line of at most 20 characters."));
    }
}

#[test]
fn what_a_caller_would_say_is_understood_as_an_argument() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(
        "call a look {\"date\":\"tomorrow\"}\nfinish tools\nsay: Let me see.\ntool look {\"date\":\"2026-11-24\"}",
    );
}

#[test]
fn variables_are_remembered_checked_and_corrected() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(
        r#"
        call a remember {"kind":"checkup","day":"2026-11-24","time":"08:00","name":"Anna Berg"}
        finish tools
        think
        call b remember {"time":"15:00","day":"2026-11-25","kind":null}
        finish tools
        think
    "#,
    );
    assert_eq!(
        stage.messages()[3],
        "a failed: {\"remembered\":{\"day\":\"2026-11-24\",\"name\":\"Anna Berg\",\"kind\":\"check\"},\
         \"problems\":{\"time\":\"It has to be between 9:00 AM and 5:00 PM.\"}}"
    );
    assert_eq!(stage.messages()[5], r#"b: {"remembered":{"day":"2026-11-25","time":"15:00"}}"#);
    assert_eq!(stage.value("kind"), "check");
    assert!(stage.notes.contains(&"day=Wednesday, November 25th corrected".to_owned()), "{:?}", stage.notes);
    assert!(stage.notes.contains(&"kind=a check-up".to_owned()));
}

#[test]
fn a_model_cannot_set_what_it_is_not_told_to_collect() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play("call a remember {\"reference\":\"FREE\",\"kind\":\"gold\"}\ncall b remember {}\nfinish tools\nthink");
    assert_eq!(
        stage.messages()[3],
        "a failed: {\"remembered\":{},\"problems\":{\"reference\":\"Unknown; there are: name, time, day, kind.\",\
         \"kind\":\"It must be one of check, clean.\"}}"
    );
    assert!(stage.messages()[4].starts_with("b failed: {\"error\":\"Give at least one of"));
    assert_eq!((stage.value("reference"), stage.value("kind")), (Value::Null, Value::Null));
}

#[test]
fn a_tool_with_confirm_runs_only_after_a_read_back_and_a_yes() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(&format!("{BOOK}\nfinish tools\n{READ_BACK}\nlisten\ncaller: yes please\n{BOOKING}\nanswers {{\"reference\":\"A7\"}}\nthink"));
    let listen = &stage.listens[1];
    assert_eq!(listen.expect, Expect::YesNo);
    assert_eq!(
        stage.messages()[2..],
        [
            "agent: Let me read that back. name: Anna Berg, date: Tuesday, November 24th, time: 3:00 PM. Is that right? [b book]",
            r#"b: {"reference":"A7"}"#
        ]
    );
    assert_eq!(stage.value("reference"), "A7");
    let history = stage.conversation.memory().history();
    assert!(history.iter().any(|turn| turn.text.expose() == "yes please"), "the yes is on record");
}

#[test]
fn the_yes_may_come_by_key() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(&format!("{BOOK}\nfinish tools\n{READ_BACK}\nlisten\nkeys: 1\n{BOOKING}"));
}

#[test]
fn anything_but_a_plain_yes_goes_back_to_the_model() {
    for words in ["no", "yes but at four", "make it Friday", "how much is it"] {
        let mut stage = Stage::after(CLINIC, ASKED);
        stage.play(&format!("{BOOK}\nfinish tools\n{READ_BACK}\nlisten\ncaller: {words}\nthink"));
        let messages = stage.messages();
        assert!(messages[3].starts_with("b failed: {\"error\":\"Not run: the caller was asked"), "{messages:?}");
        assert_eq!(messages[4], format!("caller: {words}"));
    }
}

#[test]
fn a_yes_to_what_was_not_heard_is_asked_again() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(&format!(
        "{BOOK}\nfinish tools\n{READ_BACK}\nlisten\ncut: Let me read\ncaller: yes\n{READ_BACK}\nlisten\ncaller: yes\n{BOOKING}"
    ));
}

#[test]
fn a_model_cannot_talk_its_way_past_the_read_back() {
    let mut stage = Stage::after(CLINIC, ASKED);
    // It claims to have asked, and the caller even said yes to it.
    stage.play(&format!(
        "speech: Shall I book it?\nsay: Shall I book it?\nfinish complete\nlisten\ncaller: yes\nthink\n{BOOK}\nfinish tools\n{READ_BACK}\nlisten"
    ));
    assert!(stage.keys.is_empty(), "nothing has run");
}

#[test]
fn other_arguments_need_another_yes_and_the_same_after_a_failure_do_not() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(&format!(
        "{BOOK}\nfinish tools\n{READ_BACK}\nlisten\ncaller: yes\n{BOOKING}\nfails timeout\nthink\n\
         {BOOK}\nfinish tools\n{BOOKING}\nanswers {{\"reference\":\"A7\"}}\nthink\n{BOOK}\nfinish tools\n{READ_BACK}\nlisten"
    ));
    assert_eq!(stage.keys, ["k3y-1", "k3y-1"], "a retry of the same action has the same key");
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(&format!(
        "{BOOK}\nfinish tools\n{READ_BACK}\nlisten\ncaller: yes\n{BOOKING}\nfails timeout\nthink\n{}\nfinish tools\n{}\nlisten",
        BOOK.replace("15:00", "16:00"),
        READ_BACK.replace("3:00", "4:00")
    ));
}

#[test]
fn the_file_may_word_the_read_back() {
    let file = CLINIC.replace(
        "}, book]",
        "}, {use: book, read_back: \"{{ name }}, {{ date }} at {{ time }}{% if note %}, {{ note }}{% endif %}, right?\"}]",
    );
    let mut stage = Stage::after(&file, ASKED);
    stage.play(&format!("{BOOK}\nfinish tools\nsay: Anna Berg, Tuesday, November 24th at 3:00 PM, right?\nlisten"));
}

#[test]
fn an_exit_is_not_taken_when_a_call_before_it_failed() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(&format!(
        "{BOOK}\ncall x exit_done\nfinish tools\n{READ_BACK}\nlisten\ncaller: yes\n{BOOKING}\nfails status_500\nthink"
    ));
    let messages = stage.messages();
    assert!(messages.last().is_some_and(|last| last.starts_with("x failed: {\"error\":\"Not taken")), "{messages:?}");
    stage.play("speech: It did not work.\nsay: It did not work.\nfinish complete\nlisten\ncaller: pity\nthink\ncall y exit_done\nfinish tools\nsay: Goodbye.\nhangup done completed");
}

#[test]
fn an_exit_after_a_good_call_is_taken_at_once() {
    let mut stage = Stage::after(CLINIC, ASKED);
    stage.play(&format!(
        "{BOOK}\ncall x exit_done\nfinish tools\n{READ_BACK}\nlisten\ncaller: yes\n{BOOKING}\nanswers {{\"reference\":\"A7\"}}\nsay: Goodbye.\nhangup done completed"
    ));
}
