//! What keeps a conversation with a model finite.

use super::*;
use crate::agent::limits::{HISTORY_EXCHANGES, MODEL_CALLS, MODEL_MISTAKES, MODEL_ROUNDS, TOOL_ANSWER_CHARS};

const ASKED: &str = "
    say: Hello.
    listen
    caller: something please
    think
";

#[test]
fn a_model_that_calls_tools_in_a_circle_is_stopped() {
    let mut stage = Stage::after(CLINIC, ASKED);
    for round in 1..MODEL_ROUNDS {
        stage.play(&format!("call a remember {{\"day\":\"2026-12-0{round}\"}}\nfinish tools\nthink"));
    }
    stage.play("call a remember {\"day\":\"2026-12-24\"}\nfinish tools\nsay: I give up.\ntransfer desk");
}

#[test]
fn a_model_that_cannot_use_its_tools_is_given_up() {
    let mut stage = Stage::after(CLINIC, ASKED);
    for _ in 0..MODEL_MISTAKES {
        stage.play("call a nonsense\nfinish tools\nthink");
    }
    stage.play("call a nonsense\nfinish tools\nsay: I give up.\ntransfer desk");
}

#[test]
fn a_good_call_forgives_the_mistakes_before_it() {
    let mut stage = Stage::after(CLINIC, ASKED);
    for _ in 0..MODEL_ROUNDS / 2 - 1 {
        stage.play("call a nonsense\ncall b nonsense\nfinish tools\nthink\ncall c remember {\"name\":\"Anna\"}\nfinish tools\nthink");
    }
}

#[test]
fn two_models_cannot_play_ball_without_the_caller() {
    let file = CLINIC
        .replace("opening: [Hello., Hello again.]", "speak_first: true")
        .replace("exits: {done: {go: bye, when: all is said}, menu: other}", "exits: {menu: talk, done: other}");
    let mut stage = Stage::after(&file, "think");
    for _ in 1..MODEL_ROUNDS {
        stage.play("call a exit_menu\nfinish tools\nthink");
    }
    stage.play("call a exit_menu\nfinish tools\nsay: I give up.\ntransfer desk");
}

#[test]
fn a_flood_of_calls_is_cut_off() {
    let mut stage = Stage::after(CLINIC, ASKED);
    for n in 0..3 * MODEL_CALLS {
        stage.play(&format!("call c{n} remember {{\"name\":\"Anna\"}}"));
    }
    stage.play("finish tools\nthink");
    assert_eq!(stage.messages().len(), 3 + MODEL_CALLS);
}

#[test]
fn the_caller_has_only_so_many_turns_in_a_node() {
    let file = CLINIC.replace("    collect:", "    max_turns: 2\n    collect:");
    let mut stage = Stage::after(&file, "say: Hello.\nlisten");
    for _ in 0..2 {
        stage.play("caller: and so on\nthink\nspeech: Yes.\nsay: Yes.\nfinish complete\nlisten");
    }
    stage.play("caller: and so on\nsay: I give up.\ntransfer desk");
}

#[test]
fn the_history_stays_within_its_bound_and_starts_with_a_whole_exchange() {
    let file = CLINIC.replace("    collect:", "    max_turns: 290\n    collect:");
    let mut stage = Stage::after(&file, "say: Hello.\nlisten");
    for turn in 0..2 * HISTORY_EXCHANGES {
        stage.play(&format!(
            "caller: number {turn}\nthink\ncall a remember {{\"name\":\"Anna\"}}\nfinish tools\nthink\nspeech: Yes.\nsay: Yes.\nfinish complete\nlisten"
        ));
        let messages = &stage.prompts.last().map(|prompt| &prompt.messages).into_iter().flatten().collect::<Vec<_>>();
        assert!(messages.len() <= 5 * HISTORY_EXCHANGES, "{} messages", messages.len());
        let called: Vec<&str> = messages
            .iter()
            .filter_map(|message| match message {
                Message::Agent { calls, .. } => Some(calls.iter().map(|call| call.id.as_str())),
                _ => None,
            })
            .flatten()
            .collect();
        let answered = messages.iter().filter(|message| matches!(message, Message::ToolResult { .. })).count();
        assert_eq!(called.len(), answered, "every call has its answer and the other way round");
        assert!(matches!(messages.last(), Some(Message::ToolResult { .. })));
    }
    assert!(stage.messages()[0].starts_with("caller: number "));
}

#[test]
fn a_long_answer_of_a_tool_is_cut_for_the_model() {
    let mut stage = Stage::after(CLINIC, ASKED);
    let long = "x".repeat(3 * TOOL_ANSWER_CHARS);
    stage.play(&format!(
        "call a look {{\"date\":\"2026-11-24\"}}\nfinish tools\nsay: Let me see.\ntool look {{\"date\":\"2026-11-24\"}}\nanswers {{\"free\":[\"{long}\"]}}\nthink"
    ));
    let answer = stage.messages()[3].clone();
    assert!(answer.ends_with("… (cut off)") && answer.chars().count() < TOOL_ANSWER_CHARS + 30);
}
