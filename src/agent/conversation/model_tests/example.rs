//! The example agent, as a caller may meet it.

use super::*;

const ASSISTANT: &str = include_str!("../../../../examples/assistant.yaml");
const START: &str = "say: Good morning, this is Lindenhof Dental.\nsay: How can I help you?\nlisten\n";

#[test]
fn an_appointment_is_made_in_free_conversation() {
    let mut stage = Stage::after(ASSISTANT, START);
    stage.play(
        r#"
        caller: Hi, this is Anna Berg, have you anything for a cleaning tomorrow afternoon?
        think
        call a remember {"name":"Anna Berg","day":"2026-11-24"}
        call b find_free_times {"date":"2026-11-24"}
        finish tools
        say: Let me check.
        tool find_free_times {"date":"2026-11-24"}
        answers {"free":["09:00","15:00","15:30"]}
        think
        speech: Tomorrow I have three or half past three.
        say: Tomorrow I have three or half past three.
        speech: Which do you prefer?
        say: Which do you prefer?
        finish complete
        listen
        cut: Tomorrow I have three
        caller: Three is perfect. My number is 555 0134.
        think
        call c remember {"time":"15:00","phone":"5550134"}
        call d book {"name":"Anna Berg","date":"2026-11-24","time":"15:00","phone":"5550134"}
        finish tools
        say: So that's Anna Berg, on Tuesday, November 24th at 3:00 PM, and your number is 5 5 5, 0 1 3 4. Is that right?
        listen
        caller: Yes, that's right.
        say: I'm entering it now.
        tool book {"name":"Anna Berg","date":"2026-11-24","time":"15:00","phone":"5550134"} confirmed
        answers {"reference":"A7"}
        think
        speech: Booked. Your reference is A, 7. Anything else?
        say: Booked. Your reference is A, 7. Anything else?
        finish complete
        listen
        caller: No, that's all.
        think
        call e exit_booked
        finish tools
        say: Thank you for calling Lindenhof Dental. Goodbye.
        hangup finished completed
    "#,
    );
}

#[test]
fn without_its_model_the_appointment_is_made_by_questions() {
    let mut stage = Stage::after(ASSISTANT, START);
    stage.play(
        r#"
        caller: I need an appointment
        think
        failed timeout
        say: I'm sorry, let me ask you this step by step.
        say: May I have your name, please?
        listen
        caller: Anna Berg
        say: Which day would suit you?
        listen
        caller: tomorrow
        say: Let me check.
        tool find_free_times {"date":"2026-11-24"}
    "#,
    );
}
