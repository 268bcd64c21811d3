//! Tasks that come to their end, in one sentence or many.

use crate::stage::{TO_READ_BACK, clinic, restaurant, with_check};

#[test]
fn an_appointment_is_booked() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.play(
        r#"
        caller: Yes, that's right.
        agent: I'm entering it now.
        tool book {"name":"Anna Berg","date":"2026-11-24","time":"15:00","phone":"5550134"}
        answers {"id": 1, "reference": "K7P", "name": "Anna Berg", "date": "2026-11-24", "time": "15:00", "phone": "5550134"}
        agent: You're booked for Tuesday, November 24th at 3:00 PM. Your reference is K, 7, P.
        agent: Is there anything else I can do for you?
        caller: No, that's all, thank you.
        agent: Thank you for calling Lindenhof Dental. Goodbye.
        hangup finished completed
        "#,
    );
    assert_eq!(stage.keys, ["k3y-1", "k3y-2"]);
    assert_eq!(stage.confirmed, [false, true], "only the booking was confirmed");
}

#[test]
fn a_caller_in_his_own_words_gets_his_appointment() {
    let mut stage = clinic();
    stage.play(
        r#"
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: Hi there.
        agent: How can I help you?
        caller: Hi there. What are your opening hours?
        agent: We're open Monday to Friday, from nine to five. We're closed on weekends.
        agent: How can I help you?
        caller: Could I make an appointment for a checkup, please?
        agent: May I have your name, please?
        caller: The name is Daniel Brooks.
        agent: Which day would suit you?
        caller: When are you open on Friday?
        agent: That's Monday to Friday, nine to five.
        agent: Which day would suit you?
        caller: Could you do Thursday?
        agent: Let me check.
        tool find_free_times {"date":"2026-11-26"}
        answers {"free": ["15:00", "15:30", "16:00"]}
        agent: What time would you like?
        cut: What time
        caller: Wait, how much is a cleaning?
        agent: A check-up is 60 dollars, and a cleaning is 95 dollars. Other treatments we quote after the check-up.
        agent: What time would you like?
        caller: Where can I park my car?
        agent: We're at 12 Linden Street, next to the library. You can park free of charge behind the building.
        agent: What time would you like?
        caller: Three o'clock in the afternoon, please.
        agent: And what number can we reach you at?
        caller: Sorry, could you say that again?
        agent: And what number can we reach you at?
        caller: You can reach me at 555-0142.
        agent: So that's Daniel Brooks, on Thursday, November 26th at 3:00 PM, and your number is 5 5 5, 0 1 4 2. Is that right?
        caller: No, that's wrong. The time is four o'clock.
        agent: All right, 4:00 PM.
        agent: So that's Daniel Brooks, on Thursday, November 26th at 4:00 PM, and your number is 5 5 5, 0 1 4 2. Is that right?
        caller: No, it should be half past three.
        agent: All right, 3:30 PM.
        agent: So that's Daniel Brooks, on Thursday, November 26th at 3:30 PM, and your number is 5 5 5, 0 1 4 2. Is that right?
        caller: Yes, that's correct, thank you.
        agent: I'm entering it now.
        tool book {"name":"Daniel Brooks","date":"2026-11-26","time":"15:30","phone":"5550142"}
        answers {"id": 4, "reference": "B7"}
        agent: You're booked for Thursday, November 26th at 3:30 PM. Your reference is B, 7.
        agent: Is there anything else I can do for you?
        caller: That's everything. Thanks, bye.
        agent: Thank you for calling. Goodbye.
        hangup caller_said_goodbye completed
        "#,
    );
}

#[test]
fn one_sentence_may_fill_every_slot() {
    clinic().play(
        r#"
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: Hi, this is Anna Berg, I need an appointment tomorrow at three, my number is 555 0134
        agent: Let me check.
        tool find_free_times {"date":"2026-11-24"}
        answers {"free": ["15:00"]}
        agent: So that's Anna Berg, on Tuesday, November 24th at 3:00 PM, and your number is 5 5 5, 0 1 3 4. Is that right?
        "#,
    );
}

#[test]
fn a_taken_time_leads_to_the_alternatives_of_the_service() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.play(
        r#"
        caller: yes
        agent: I'm entering it now.
        tool book {"name":"Anna Berg","date":"2026-11-24","time":"15:00","phone":"5550134"}
        fails status_409 {"error": "taken", "alternatives": ["15:30", "16:00"]}
        agent: I'm sorry, 3:00 PM has just been taken. I could offer 3:30 PM or 4:00 PM.
        agent: What time would you like?
        caller: four
        agent: So that's Anna Berg, on Tuesday, November 24th at 4:00 PM, and your number is 5 5 5, 0 1 3 4. Is that right?
        "#,
    );
}

#[test]
fn cancelling_is_confirmed_and_ends_politely() {
    clinic().play(
        "
        agent: Good morning, this is Lindenhof Dental.
        agent: How can I help you?
        caller: an appointment
        agent: May I have your name, please?
        caller: oh, never mind, forget it
        agent: Shall I stop here and not book anything?
        caller: yes
        agent: That's fine, nothing has been booked.
        agent: Is there anything else I can do for you?
        caller: no thanks
        agent: Thank you for calling Lindenhof Dental. Goodbye.
        hangup finished
        ",
    );
}

#[test]
fn counts_choices_and_free_text_are_filled_by_voice_and_by_key() {
    let mut stage = restaurant();
    stage.play(
        "
        agent: Good morning. This call is recorded.
        agent: For a table press one, or just tell me what you need.
        keys: 1
        agent: For how many?
        caller: twelve
        agent: It can be at most 8. For larger parties please write to us.
        agent: How many people will you be?
        caller: for four
        agent: The tasting menu, or à la carte?
        caller: the seven courses please
        agent: Would you like to sit outside?
        keys: 2
        agent: Anything the kitchen should know?
        caller: One of us cannot eat nuts.
        agent: 4 guests, the tasting menu. Right?
        caller: no, five people
        agent: Right, 5.
        agent: 5 guests, the tasting menu. Right?
        caller: the card, not the tasting
        agent: Right, à la carte.
        agent: 5 guests, à la carte. Right?
        keys: 1
        agent: We look forward to seeing you.
        agent: Goodbye.
        hangup finished completed
        ",
    );
    let memory = stage.conversation.memory();
    assert_eq!(memory.value("note"), Some(&serde_json::json!("One of us cannot eat nuts.")));
    assert_eq!(memory.value("phone"), Some(&serde_json::json!("5550199")), "taken from the call");
    assert_eq!(memory.value("terrace"), Some(&serde_json::json!(false)));
}
