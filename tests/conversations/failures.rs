//! Failures, each with the response that the agent file defines for it: silence, noise, tools, engines.

use crate::stage::{TO_READ_BACK, clinic, restaurant, with_check};
use offhook::agent::{Input, RequestId};

#[test]
fn silence_is_answered_and_at_last_ends_the_call() {
    let mut stage = clinic();
    stage.play(
        "
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        silence
        agent: Are you still there?
        agent: You can book an appointment, or ask about our hours, prices and address. What would you like?
        silence
        agent: I didn't hear anything.
        agent: Shall I book an appointment for you, or is it something else?
        silence
        agent: I can't hear anything, so I'll end the call here. Please call again any time. Goodbye.
        hangup caller_silent
        ",
    );
    assert_eq!(stage.notes, ["no_input", "no_input", "no_input", "caller_silent"]);
}

#[test]
fn what_is_not_understood_is_asked_differently_and_at_last_handed_over_with_context() {
    let mut stage = clinic();
    stage.play(
        r#"
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: appointment
        agent: May I have your name, please?
        caller: Anna Berg
        agent: Which day would suit you?
        caller: banana
        agent: Sorry, I didn't get that.
        agent: Which day would you like to come? You can say, for example, next Tuesday.
        caller: the colour blue is nice
        classify
        ranking prices 0.2, book 0.1
        agent: I'm sorry, I still didn't understand.
        agent: Please tell me a day, such as Monday, or the 3rd.
        caller: blah
        agent: I'm sorry, I'm having trouble understanding you. I'll put you through to the front desk.
        transfer front_desk
        accepted
        "#,
    );
    assert!(stage.context.contains(r#""reason":"retries_used_up","slots":{"name":"Anna Berg"}"#), "{}", stage.context);
    assert!(stage.context.contains("the colour blue is nice"), "{}", stage.context);
    assert!(stage.conversation.is_over());
}

#[test]
fn words_that_were_hardly_heard_are_not_acted_on() {
    clinic().play(
        "
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller 0.2: appointment
        agent: I'm sorry, I couldn't hear you well.
        agent: You can book an appointment, or ask about our hours, prices and address. What would you like?
        caller: appointment
        agent: May I have your name, please?
        caller 0.5: Anna Berg
        agent: Did you say Anna Berg?
        caller: No, Anna Burke.
        agent: Which day would suit you?
        caller 0.5: Wednesday
        agent: Did you say Wednesday, November 25th?
        caller: no
        agent: Which day would you like to come? You can say, for example, next Tuesday.
        caller 0.5: Thursday
        agent: Did you say Thursday, November 26th?
        caller: yes
        agent: Let me check.
        tool find_free_times {\"date\":\"2026-11-26\"}
        ",
    );
}

#[test]
fn a_failing_tool_is_spoken_of_and_the_caller_is_handed_over() {
    for failure in ["timeout", "refused", "status_500", "circuit_open", "not_json"] {
        let mut stage = clinic();
        stage.play(&with_check(TO_READ_BACK));
        stage.play(&format!(
            "
            caller: yes
            agent: I'm entering it now.
            tool book {{\"name\":\"Anna Berg\",\"date\":\"2026-11-24\",\"time\":\"15:00\",\"phone\":\"5550134\"}}
            fails {failure}
            agent: I'm sorry, I can't reach our calendar right now. I'll put you through to the front desk.
            transfer front_desk
            "
        ));
        assert!(stage.context.contains(r#""phone":"5550134""#));
    }
}

#[test]
fn an_answer_of_the_wrong_shape_is_a_failure_too() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.play(
        "
        caller: yes
        agent: I'm entering it now.
        tool book {\"name\":\"Anna Berg\",\"date\":\"2026-11-24\",\"time\":\"15:00\",\"phone\":\"5550134\"}
        answers {\"unexpected\": true}
        agent: I'm sorry, I can't reach our calendar right now. I'll put you through to the front desk.
        transfer front_desk
        ",
    );
}

#[test]
fn a_dead_engine_is_spoken_of_and_the_caller_is_handed_over() {
    let mut stage = clinic();
    stage.play(
        "
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        busy speech_to_text
        agent: One moment, please.
        down speech_to_text
        agent: I'm sorry, I have a technical problem. I'll put you through to the front desk.
        transfer front_desk
        ",
    );
    assert_eq!(stage.notes, ["provider_busy", "provider_down"]);
}

#[test]
fn a_late_answer_to_an_old_request_is_ignored() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.put(Input::ToolFinished { request: RequestId(1), outcome: Ok(serde_json::json!({})) });
    stage.put(Input::Classified { request: RequestId(99), ranking: vec![] });
    stage.put(Input::TransferFinished { request: RequestId(99), accepted: true, reason: String::new() });
    assert!(stage.seen.is_empty() && !stage.conversation.is_over());
}

#[test]
fn a_node_answers_its_own_failures() {
    restaurant().play(
        "
        agent: Good morning. This call is recorded.
        agent: For a table press one, or just tell me what you need.
        caller: I want to reserve à la carte
        agent: For how many?
        caller: well
        agent: A number, please.
        agent: How many people will you be?
        caller: hmm
        agent: Let me take you as two.
        agent: The tasting menu, or à la carte?
        caller 0.4: the card
        agent: à la carte, is that so?
        caller: yes it is
        agent: Would you like to sit outside?
        caller: I'd love to, can I bring my dog?
        agent: Dogs are welcome.
        agent: Would you like to sit outside?
        caller: sure
        agent: Anything the kitchen should know?
        caller: no
        agent: 2 guests, à la carte. Right?
        ",
    );
}

#[test]
fn without_a_destination_the_caller_is_told_so_and_let_go_politely() {
    restaurant().play(
        "
        agent: Good morning. This call is recorded.
        agent: For a table press one, or just tell me what you need.
        caller: operator
        agent: I'm sorry, there is nobody I can put you through to.
        agent: For a table press one, or just tell me what you need.
        keys: 9
        agent: Sorry, I didn't get that.
        agent: For a table press one, or just tell me what you need.
        silence
        agent: Please write to us instead. Goodbye.
        hangup retries_used_up
        ",
    );
}

#[test]
fn a_dead_engine_without_a_destination_ends_the_call_with_words() {
    restaurant().play(
        "
        agent: Good morning. This call is recorded.
        agent: For a table press one, or just tell me what you need.
        down text_to_speech
        agent: I'm sorry, we have a technical problem. Please call again in a few minutes.
        hangup provider_down
        ",
    );
}
