//! Whole conversations in virtual time, each a readable script. 855 lines because every failure path is one script here.
//!
//! A script has one line per step. What the agent must do: `agent: words`, `tool id {arguments}`,
//! `classify`, `transfer id`, `hangup reason` (with `completed` when the task was done). What happens to it:
//! `caller: words`, `caller 0.3: words` (confidence), `silence`, `keys: 555`, `cut: what was heard`,
//! `answers {json}`, `fails kind {json}`, `ranking book 0.7, prices 0.2`, `accepted`, `refused`, `down stage`,
//! `busy stage`. The agent must do exactly what the script says, in this order, and nothing else.

use offhook::agent::{Agent, Conversation, Effect, Input, Note, RequestId, Speaker, ToolFailure, UtteranceId};
use offhook::base::Pii;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Stage {
    conversation: Conversation,
    now: Instant,
    seen: VecDeque<String>,
    speaking: Vec<(UtteranceId, String)>,
    request: RequestId,
    notes: Vec<String>,
    keys: Vec<String>,
    confirmed: Vec<bool>,
    outstanding: usize,
    context: String,
}

impl Stage {
    fn new(agent: Agent) -> Self {
        let mut stage = Self {
            conversation: Conversation::new(Arc::new(agent), "k3y"),
            now: Instant::now(),
            seen: VecDeque::new(),
            speaking: Vec::new(),
            request: RequestId(0),
            notes: Vec::new(),
            keys: Vec::new(),
            confirmed: Vec::new(),
            outstanding: 0,
            context: String::new(),
        };
        // A Monday morning.
        let local_time =
            jiff::civil::date(2026, 11, 23).at(10, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).expect("UTC");
        let variables = vec![("caller_number".to_owned(), Pii::new("5550199".to_owned()))];
        stage.put(Input::CallStarted { variables, local_time });
        stage
    }

    fn put(&mut self, input: Input) {
        self.now += Duration::from_secs(2);
        let over = self.conversation.is_over();
        self.conversation.handle(self.now, input);
        let mut outstanding = 0;
        while let Some(effect) = self.conversation.poll_effect() {
            match effect {
                Effect::Speak { utterance, text, .. } => {
                    self.seen.push_back(format!("agent: {text}"));
                    self.speaking.push((utterance, text));
                }
                Effect::Listen(_) => outstanding += 1,
                Effect::Classify { request, .. } => {
                    self.request = request;
                    self.seen.push_back("classify".into());
                    outstanding += 1;
                }
                Effect::CallTool { request, tool, arguments, idempotency_key, confirmed } => {
                    self.request = request;
                    self.keys.push(idempotency_key);
                    self.confirmed.push(confirmed);
                    let arguments = serde_json::to_string(arguments.expose()).expect("JSON");
                    self.seen.push_back(format!("tool {tool} {arguments}"));
                    outstanding += 1;
                }
                Effect::Transfer { request, destination, context, .. } => {
                    self.request = request;
                    self.context = serde_json::to_string(context.expose()).expect("JSON");
                    self.seen.push_back(format!("transfer {destination}"));
                    outstanding += 1;
                }
                Effect::Hangup { reason, completed, .. } => {
                    self.seen.push_back(format!("hangup {reason}{}", if completed { " completed" } else { "" }));
                    outstanding += 1;
                }
                Effect::Note(Note::FailureHandled { kind, .. }) => self.notes.push(kind.to_owned()),
                Effect::Note(Note::SlotFilled { slot, corrected, .. }) => {
                    self.notes.push(format!("{slot}{}", if corrected { " corrected" } else { "" }));
                }
                Effect::Note(Note::NodeEntered { .. }) => {}
                Effect::Think { .. }
                | Effect::StopThinking { .. }
                | Effect::Converse { .. }
                | Effect::ToolAnswer { .. }
                | Effect::EndConverse { .. } => self.seen.push_back("model".into()),
            }
        }
        if outstanding > 0 {
            self.outstanding = outstanding;
        }
        if !over {
            assert!(outstanding <= 1, "{outstanding} things to wait for at once: {:?}", self.seen);
            assert!(self.outstanding == 1, "nothing is outstanding: the call hangs");
        }
    }

    fn heard_all(&mut self) {
        for (utterance, heard) in std::mem::take(&mut self.speaking) {
            self.put(Input::SpeechEnded { utterance, heard, complete: true });
        }
    }

    fn play(&mut self, script: &str) {
        for (number, line) in script.lines().enumerate().map(|(n, line)| (n + 1, line.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            if ["agent:", "tool", "classify", "transfer", "hangup"].contains(&word) {
                let seen = self.seen.pop_front().unwrap_or_else(|| "(nothing)".into());
                assert_eq!(seen, line, "step {number}; then {:?}; notes {:?}", self.seen, self.notes);
                continue;
            }
            assert!(self.seen.is_empty(), "before step {number} `{line}` the agent also did: {:?}", self.seen);
            if word != "cut:" {
                self.heard_all();
            }
            let json = |text: &str| serde_json::from_str(text).unwrap_or_else(|e| panic!("step {number}: {e}"));
            let request = self.request;
            let input = match word {
                "caller:" => Input::CallerSaid { text: Pii::new(rest.to_owned()), confidence: 0.95 },
                "caller" => {
                    let (confidence, text) = rest.split_once(": ").expect("confidence");
                    Input::CallerSaid {
                        text: Pii::new(text.to_owned()),
                        confidence: confidence.parse().expect("number"),
                    }
                }
                "silence" => Input::Silence,
                "keys:" => Input::Digits(Pii::new(rest.to_owned())),
                "cut:" => {
                    let (utterance, _) = self.speaking.pop().expect("an utterance");
                    Input::SpeechEnded { utterance, heard: rest.to_owned(), complete: false }
                }
                "answers" => Input::ToolFinished { request, outcome: Ok(json(rest)) },
                "fails" => {
                    let (kind, body) = rest.split_once(' ').unwrap_or((rest, ""));
                    let mut failure = ToolFailure::new(kind, "");
                    if !body.is_empty() {
                        failure = failure.with_body(json(body));
                    }
                    Input::ToolFinished { request, outcome: Err(failure) }
                }
                "ranking" => {
                    let ranking = rest
                        .split(", ")
                        .filter_map(|pair| pair.split_once(' '))
                        .map(|(name, score)| (name.to_owned(), score.parse().expect("number")))
                        .collect();
                    Input::Classified { request, ranking }
                }
                "accepted" => Input::TransferFinished { request, accepted: true, reason: "200 OK".into() },
                "refused" => Input::TransferFinished { request, accepted: false, reason: "486 Busy Here".into() },
                "down" => Input::ProviderDown { stage: leak(rest), busy: false },
                "busy" => Input::ProviderDown { stage: leak(rest), busy: true },
                other => panic!("step {number}: unknown step `{other}`"),
            };
            self.put(input);
        }
        assert!(self.seen.is_empty(), "after the script the agent also did: {:?}", self.seen);
    }
}

fn leak(stage: &str) -> &'static str {
    ["speech_to_text", "text_to_speech", "intents"].into_iter().find(|s| *s == stage).expect("a stage")
}

fn clinic() -> Stage {
    Stage::new(Agent::load("examples/clinic.yaml", &[]).unwrap_or_else(|e| panic!("{e}")))
}

/// From the first ring to the read-back of Anna Berg, Tuesday at three.
const TO_READ_BACK: &str = "
    agent: Good morning, this is Lindenhof Dental.
    agent: How can I help you?
    caller: I'd like to make an appointment please.
    agent: May I have your name, please?
    caller: My name is Anna Berg.
    agent: Which day would suit you?
    caller: Tomorrow, please.
    tool find_free_times {\"date\":\"2026-11-24\"}
    answers {\"free\": [\"09:00\", \"15:00\", \"15:30\"]}
    agent: What time would you like?
    caller: At three.
    agent: And what number can we reach you at?
    caller: five five five oh one three four
    agent: So that's Anna Berg, on Tuesday, November 24th at 3:00 PM, and your number is 5 5 5, 0 1 3 4. Is that right?
";

fn with_check(script: &str) -> String {
    // The filler of the first look-up.
    script.replacen("    tool find_free_times", "    agent: Let me check.\n    tool find_free_times", 1)
}

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

#[test]
fn a_late_answer_to_an_old_request_is_ignored() {
    let mut stage = clinic();
    stage.play(&with_check(TO_READ_BACK));
    stage.put(Input::ToolFinished { request: RequestId(1), outcome: Ok(serde_json::json!({})) });
    stage.put(Input::Classified { request: RequestId(99), ranking: vec![] });
    stage.put(Input::TransferFinished { request: RequestId(99), accepted: true, reason: String::new() });
    assert!(stage.seen.is_empty() && !stage.conversation.is_over());
}

fn restaurant() -> Stage {
    Stage::new(Agent::load("tests/data/agents/restaurant.yaml", &[]).unwrap_or_else(|e| panic!("{e}")))
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
