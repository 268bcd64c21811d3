//! Values that are taken back, refused, interrupted or only half heard.

use crate::stage::{TO_READ_BACK, clinic, with_check};
use offhook::agent::Speaker;

#[test]
fn the_read_back_can_be_corrected_in_the_same_breath() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.play(
        r#"
        caller: No, the time is half past three.
        agent: All right, 3:30 PM.
        agent: So that's Anna Berg, on Tuesday, November 24th at 3:30 PM, and your number is 5 5 5, 0 1 3 4. Is that right?
        caller: Sorry, my name is Anna Burke.
        agent: All right, Anna Burke.
        agent: One moment.
        tool find_free_times {"date":"2026-11-24"}
        answers {"free": ["15:30"]}
        agent: So that's Anna Burke, on Tuesday, November 24th at 3:30 PM, and your number is 5 5 5, 0 1 3 4. Is that right?
        "#,
    );
    assert!(stage.notes.contains(&"time corrected".to_owned()));
}

#[test]
fn that_is_wrong_finds_out_what_and_asks_only_that() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.play(
        r#"
        caller: That is wrong.
        agent: Sorry about that. What should I change, the name, the day, the time or the number?
        caller: The number.
        agent: And what number can we reach you at?
        caller: 555 0143
        agent: So that's Anna Berg, on Tuesday, November 24th at 3:00 PM, and your number is 5 5 5, 0 1 4 3. Is that right?
        caller: change the day
        agent: Which day would suit you?
        caller: Wednesday
        agent: One moment.
        tool find_free_times {"date":"2026-11-25"}
        answers {"free": ["09:00", "10:00", "11:00", "12:00"]}
        agent: I'm sorry, 3:00 PM is already taken on that day. I still have 9:00 AM, 10:00 AM or 11:00 AM.
        agent: What time would you like?
        caller: ten
        agent: So that's Anna Berg, on Wednesday, November 25th at 10:00 AM, and your number is 5 5 5, 0 1 4 3. Is that right?
        caller: correct
        agent: I'm entering it now.
        tool book {"name":"Anna Berg","date":"2026-11-25","time":"10:00","phone":"5550143"}
        "#,
    );
}

#[test]
fn an_answer_is_taken_back_one_question_later() {
    clinic().play(
        r#"
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: appointment
        agent: May I have your name, please?
        caller: Anna Berg
        agent: Which day would suit you?
        caller: Wednesday
        agent: Let me check.
        tool find_free_times {"date":"2026-11-25"}
        answers {"free": ["10:00"]}
        agent: What time would you like?
        caller: Sorry, I meant Thursday.
        agent: All right, Thursday, November 26th.
        agent: One moment.
        tool find_free_times {"date":"2026-11-26"}
        answers {"free": ["10:00"]}
        agent: What time would you like?
        caller: ten, please
        agent: And what number can we reach you at?
        caller: wait, my name is wrong, it's Anna Burke
        agent: All right, Anna Burke.
        agent: One moment.
        tool find_free_times {"date":"2026-11-26"}
        answers {"free": ["10:00"]}
        agent: And what number can we reach you at?
        "#,
    );
}

#[test]
fn values_that_do_not_fit_are_refused_with_the_reason() {
    clinic().play(
        r#"
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: I need an appointment
        agent: May I have your name, please?
        caller: Anna Berg
        agent: Which day would suit you?
        caller: Saturday
        agent: We're closed on Saturdays.
        agent: Which day would you like to come? You can say, for example, next Tuesday.
        caller: Tuesday
        agent: Let me check.
        tool find_free_times {"date":"2026-11-24"}
        answers {"free": ["09:00", "15:30"]}
        agent: What time would you like?
        caller: eight in the evening
        agent: On Tuesdays we're open from 9:00 AM to 5:00 PM.
        agent: We still have 9:00 AM or 3:30 PM. What time would you like?
        caller: half past three
        agent: And what number can we reach you at?
        caller: five five five
        agent: I only heard 3 digits.
        agent: What is your phone number? You can also type it on your keypad, and finish with the pound key.
        keys: 5550134
        agent: So that's Anna Berg, on Tuesday, November 24th at 3:30 PM, and your number is 5 5 5, 0 1 3 4. Is that right?
        "#,
    );
}

#[test]
fn a_yes_into_the_first_words_of_a_read_back_confirms_nothing() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.play(
        "
        cut: So that's Anna
        caller: yeah
        agent: So that's Anna Berg, on Tuesday, November 24th at 3:00 PM, and your number is 5 5 5, 0 1 3 4. Is that right?
        ",
    );
}

#[test]
fn only_what_was_heard_is_remembered() {
    let mut stage = clinic();
    stage.play("agent: Good morning, this is Lindenhof Dental.\nagent: How can I help you?\ncut: How can\ncaller: appointment\nagent: May I have your name, please?");
    let history = stage.conversation.memory().history();
    let agent: Vec<&str> =
        history.iter().filter(|t| t.speaker == Speaker::Agent).map(|t| t.text.expose().as_str()).collect();
    assert_eq!(agent, ["How can", "Good morning, this is Lindenhof Dental."]);
}

#[test]
fn talking_while_a_tool_runs_is_acknowledged_and_changes_nothing() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.play(
        r#"
        caller: yes
        agent: I'm entering it now.
        tool book {"name":"Anna Berg","date":"2026-11-24","time":"15:00","phone":"5550134"}
        caller: hello? are you there?
        agent: One moment, please.
        answers {"reference": "K7P"}
        agent: You're booked for Tuesday, November 24th at 3:00 PM. Your reference is K, 7, P.
        agent: Is there anything else I can do for you?
        "#,
    );
}
