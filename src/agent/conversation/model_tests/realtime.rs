//! Speech-to-speech: the model hears and speaks, tools and ways out stay with the conversation.

use super::*;

fn live() -> String {
    CLINIC.replace("language_model: {use: model, max_tokens: 300}", "speech_to_speech: voice")
}

fn both() -> String {
    CLINIC.replace("start: talk", "start: talk\nspeech_to_speech: voice")
}

const BOOK: &str = r#"call b book {"time":"15:00","date":"2026-11-24","name":"Anna Berg"}"#;
const READ_BACK: &str =
    "say: Let me read that back. name: Anna Berg, date: Tuesday, November 24th, time: 3:00 PM. Is that right?";
const BOOKING: &str = r#"tool book {"name":"Anna Berg","date":"2026-11-24","time":"15:00"} confirmed"#;

#[test]
fn the_session_gets_instructions_tools_and_what_was_said_before() {
    let file = live()
        .replace("start: talk", "start: hello")
        .replace("nodes:\n", "nodes:\n  hello: {say: Welcome., next: talk}\n");
    let stage = Stage::after(&file, "say: Welcome.\nconverse \"Hello.\"");
    let prompt = &stage.prompts[0];
    assert!(prompt.instructions.starts_with("You book appointments."));
    assert_eq!(names(&prompt.tools), ["look", "book", "remember", "exit_done", "exit_menu"]);
    assert_eq!(stage.messages(), ["agent: Welcome."]);
}

#[test]
fn tools_run_while_the_session_goes_on_and_their_answers_go_to_it() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    stage.play(
        r#"
        heard agent: Hello.
        heard caller: what is free tomorrow
        call a look {"date":"2026-11-24"}
        tool look {"date":"2026-11-24"}
        heard caller: or the day after
        answers {"free":["10:00"]}
        answer a {"free":["10:00"]}
        heard agent: Ten o'clock.
        call r remember {"time":"20:00"}
        answer r failed {"remembered":{},"problems":{"time":"It has to be between 9:00 AM and 5:00 PM."}}
    "#,
    );
    let history: Vec<String> = stage.conversation.memory().history().iter().map(|t| t.text.expose().clone()).collect();
    assert_eq!(history, ["Hello.", "what is free tomorrow", "or the day after", "Ten o'clock."]);
}

#[test]
fn calls_that_come_while_a_tool_runs_wait_their_turn() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    stage.play(
        r#"
        call a look {"date":"2026-11-24"}
        tool look {"date":"2026-11-24"}
        call b look {"date":"2026-11-25"}
        call c nonsense
        answers {"free":[]}
        answer a {"free":[]}
        tool look {"date":"2026-11-25"}
        fails timeout
        answer b failed {"error":"timeout"}
        answer c failed {"error":"There is no tool `nonsense` here. There are: look, book, remember, exit_done, exit_menu."}
    "#,
    );
}

#[test]
fn an_exit_takes_the_call_back() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    stage.play("heard caller: I am done\ncall x exit_done\nend\nsay: Goodbye.\nhangup done completed");
}

#[test]
fn a_read_back_is_never_left_to_the_model() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    stage.play(&format!(
        "heard caller: book it\n{BOOK}\nend\n{READ_BACK}\nlisten\ncaller: yes\n{BOOKING}\nanswers {{\"reference\":\"A7\"}}\nconverse first"
    ));
    assert_eq!(stage.messages().last().map(String::as_str), Some(r#"b: {"reference":"A7"}"#));
    assert!(stage.prompts[0].instructions == stage.prompts[1].instructions);
}

#[test]
fn a_no_to_the_read_back_goes_back_to_the_session() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    stage.play(&format!("{BOOK}\nend\n{READ_BACK}\nlisten\ncaller: no, at four\nconverse first"));
    assert_eq!(stage.messages().last().map(String::as_str), Some("caller: no, at four"));
}

#[test]
fn a_human_and_a_farewell_are_heard_without_the_model() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    stage.play("heard caller: get me a real person\nend\nsay: Of course.\ntransfer desk");
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    stage.play("heard caller: okay that's all\nheard caller: bye bye\nend\nsay: Bye.\nhangup bye");
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    stage.play("keys: 5\nkeys: 0\nend\nsay: Of course.\ntransfer desk");
}

#[test]
fn a_silent_caller_is_let_go_and_words_start_the_count_anew() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    stage.play(
        "silence\nsilence\nheard caller: I am here\nsilence\nsilence\nsilence\nend\nsay: Nobody there.\nhangup silent",
    );
}

#[test]
fn a_session_that_fails_before_its_first_word_leaves_it_to_the_language_model() {
    let mut stage =
        Stage::after(&both(), "converse \"Hello.\"\ngone\nsay: Hello.\nlisten\ncaller: hi there you\nthink");
    assert!(stage.notes.contains(&"realtime_down".to_owned()));
    stage.play("gone");
}

#[test]
fn a_session_that_fails_in_the_middle_is_continued_where_it_was() {
    let stage =
        Stage::after(&both(), "converse \"Hello.\"\nheard agent: Hello.\nheard caller: an appointment\ngone\nthink");
    assert_eq!(stage.messages(), ["agent: Hello.", "caller: an appointment"]);
    let mut stage = Stage::after(&both(), "converse \"Hello.\"\nheard agent: Hello.\ngone\nlisten\ncaller: so\nthink");
    // Later nodes do without it, too.
    stage.live = RequestId(0);
    stage.play("call x exit_menu\nfinish tools\nsay: What else?\nlisten");
}

#[test]
fn a_session_that_fails_while_a_tool_runs_waits_for_the_tool() {
    let mut stage = Stage::after(&both(), "converse \"Hello.\"\nheard caller: what is free");
    stage.play(
        r#"
        call a look {"date":"2026-11-24"}
        tool look {"date":"2026-11-24"}
        gone
        answers {"free":["10:00"]}
        think
    "#,
    );
    assert_eq!(stage.messages().last().map(String::as_str), Some(r#"a: {"free":["10:00"]}"#));
}

#[test]
fn without_a_language_model_a_lost_session_meets_the_response_of_the_file() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"\ngone\nsay: Out of order.\ntransfer desk");
    assert!(stage.notes.contains(&"provider_down".to_owned()));
    stage.put(Input::RealtimeSaid {
        request: stage.live,
        speaker: Speaker::Agent,
        text: Pii::new("late words".into()),
    });
    assert!(stage.conversation.memory().history().iter().any(|turn| turn.text.expose() == "late words"));
}

#[test]
fn a_session_that_calls_tools_in_a_circle_is_stopped() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    for n in 0..crate::agent::limits::MODEL_ROUNDS {
        stage.play(&format!(
            "call c{n} remember {{\"name\":\"Anna\"}}\nanswer c{n} {{\"remembered\":{{\"name\":\"Anna\"}}}}"
        ));
    }
    stage.play("call x remember {\"name\":\"Anna\"}\nend\nsay: I give up.\ntransfer desk");
}

#[test]
fn what_an_old_session_still_reports_starts_nothing() {
    let mut stage = Stage::after(&live(), "converse \"Hello.\"");
    let old = stage.live;
    stage.play(&format!("{BOOK}\nend\n{READ_BACK}\nlisten"));
    let call = ToolCall { id: "z".into(), name: "exit_done".into(), arguments: Pii::default(), opaque: None };
    stage.put(Input::RealtimeCall { request: old, call });
    stage.put(Input::RealtimeFailed { request: old });
    stage.put(Input::RealtimeSaid { request: old, speaker: Speaker::Caller, text: Pii::new("goodbye".into()) });
    stage.play(&format!("caller: yes\n{BOOKING}"));
}

#[test]
fn a_second_visit_to_a_menu_and_back_opens_a_session_of_its_own() {
    let file = live()
        .replace("route: {parking: bye}", "route: {parking: talk}")
        .replace(", answer: You can park behind the house.", "");
    let mut stage = Stage::after(&file, "converse \"Hello.\"\ncall x exit_menu\nend\nsay: What else?\nlisten");
    stage.play("caller: parking\nconverse \"Hello again.\"");
}

#[test]
fn what_an_old_session_asked_for_is_neither_run_nor_told_to_the_next_one() {
    let file = live().replace("wants_human: {say: Of course., transfer: desk}", "wants_human: {say: There is nobody.}");
    let mut stage = Stage::after(&file, "converse \"Hello.\"");
    stage.play(
        r#"
        call a look {"date":"2026-11-24"}
        tool look {"date":"2026-11-24"}
        call b look {"date":"2026-11-25"}
        heard caller: get me a person
        end
        say: There is nobody.
        converse silent
        answers {"free":["10:00"]}
    "#,
    );
    assert_eq!(stage.value("free"), serde_json::json!(["10:00"]), "the variables know it all the same");
    stage.play("call c remember {\"name\":\"Anna\"}\nanswer c {\"remembered\":{\"name\":\"Anna\"}}");
}
