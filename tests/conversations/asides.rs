//! What a caller may say at any point: questions, wishes, a human, goodbye; and how it is recognised.

use crate::stage::{TO_READ_BACK, clinic, with_check};

#[test]
fn a_question_in_between_is_answered_and_the_booking_goes_on() {
    clinic().play(
        r#"
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: What are your opening hours and prices?
        agent: We're open Monday to Friday, from nine to five. We're closed on weekends.
        agent: A check-up is 60 dollars, and a cleaning is 95 dollars. Other treatments we quote after the check-up.
        agent: How can I help you?
        caller: book an appointment
        agent: May I have your name, please?
        caller: Where are you located?
        agent: We're at 12 Linden Street, next to the library. You can park free of charge behind the building.
        agent: May I have your name, please?
        caller: Anna Berg. And how much is a cleaning?
        agent: Sixty dollars for a check-up and ninety-five for a cleaning.
        agent: Which day would suit you?
        caller: Are you open on Saturday?
        agent: That's Monday to Friday, nine to five.
        agent: Which day would suit you?
        caller: Monday then, but is there parking?
        agent: We're at 12 Linden Street, next to the library. You can park free of charge behind the building.
        agent: Let me check.
        tool find_free_times {"date":"2026-11-30"}
        "#,
    );
}

#[test]
fn a_human_can_be_had_at_any_point() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.play(
        "
        caller: can I talk to a real person please
        agent: Of course. I'll put you through to the front desk.
        transfer front_desk
        ",
    );
    assert_eq!(
        stage.context,
        r#"{"reason":"wants_human","slots":{"name":"Anna Berg","day":"2026-11-24","time":"15:00","phone":"5550134"},"caller_said":["I'd like to make an appointment please.","My name is Anna Berg.","Tomorrow, please.","At three.","five five five oh one three four","can I talk to a real person please"]}"#
    );
    stage.play(
        "
        refused
        agent: I'm sorry, nobody is picking up at the front desk. Please call again in a little while. Goodbye.
        hangup transfer_failed
        ",
    );
}

#[test]
fn repeat_wait_help_and_goodbye_are_understood_anywhere() {
    clinic().play(
        "
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: Pardon?
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: hold on a second
        agent: Of course, take your time.
        caller: could you repeat that
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: help
        agent: You can book an appointment, or ask about our hours, prices and address. What would you like?
        caller: okay, goodbye
        agent: Thank you for calling. Goodbye.
        hangup caller_said_goodbye
        ",
    );
}

#[test]
fn meaning_is_compared_when_no_key_phrase_is_said() {
    clinic().play(
        "
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: my molar is giving me trouble
        classify
        ranking book 0.5, prices 0.2
        agent: Did you mean booking an appointment?
        caller: Yes please
        agent: May I have your name, please?
        caller: which insurers do you work with
        classify
        ranking insurance 0.8, prices 0.2
        agent: We work with most insurers. Please bring your card, and we'll check it when you arrive.
        agent: May I have your name, please?
        ",
    );
}

#[test]
fn what_the_agent_cannot_do_is_said_plainly() {
    clinic().play(
        "
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: can you order me a pizza
        classify
        ranking prices 0.2, book 0.1
        agent: I'm afraid I can't help with that. I can book an appointment, or tell you our hours, prices and address.
        agent: You can book an appointment, or ask about our hours, prices and address. What would you like?
        ",
    );
}

#[test]
fn without_the_intent_engine_key_phrases_still_work() {
    clinic().play(
        "
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: my molar is giving me trouble
        classify
        down intents
        agent: I'm afraid I can't help with that. I can book an appointment, or tell you our hours, prices and address.
        agent: You can book an appointment, or ask about our hours, prices and address. What would you like?
        caller: I want to book
        agent: May I have your name, please?
        ",
    );
}
