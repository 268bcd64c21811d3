//! Talking: sentences, interruptions, silence, refusals, failures, ways out.

use super::*;

const UP_TO_FIRST_WORDS: &str = "
    say: Hello.
    listen
    caller: I need an appointment
    think
";

#[test]
fn an_answer_is_said_sentence_by_sentence_as_it_comes() {
    let stage = Stage::after(
        CLINIC,
        "
        say: Hello.
        listen
        caller: I need an appointment
        think
        speech: Gladly.
        say: Gladly.
        speech: Which day?
        say: Which day?
        finish complete
        listen
        caller: tomorrow
        think
    ",
    );
    assert_eq!(
        stage.messages(),
        ["agent: Hello.", "caller: I need an appointment", "agent: Gladly. Which day?", "caller: tomorrow"]
    );
}

#[test]
fn the_model_is_told_its_instructions_and_what_day_it_is() {
    let stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    let prompt = &stage.prompts[0];
    assert!(prompt.instructions.starts_with("You book appointments. Today is 2026-11-23."), "{}", prompt.instructions);
    assert!(prompt.instructions.contains("Monday, November 23rd"), "{}", prompt.instructions);
    assert_eq!(prompt.output_tokens_max, 300);
    assert_eq!(names(&prompt.tools), ["look", "book", "remember", "exit_done", "exit_menu"]);
}

#[test]
fn the_lines_of_a_prompt_are_kept_and_the_manners_can_be_reworded() {
    let file = CLINIC
        .replace(
            "converse: \"You book appointments. Today is {{ today }}.\"",
            "converse: |\n      - One.\n      - {{ name }}Two.",
        )
        .replace("intents:", "phrases: {telephone: \"It is {{ now }}.\"}\nintents:");
    let stage = Stage::after(&file, UP_TO_FIRST_WORDS);
    assert_eq!(stage.prompts[0].instructions, "- One.\n- Two.\n\nIt is 10:00.");
    assert!(stage.notes.contains(&"unset_variable".to_owned()), "a missing value is on record");
}

#[test]
fn instructions_and_tools_stay_the_same_and_history_only_grows() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    for _ in 0..12 {
        stage.play("call a remember {\"day\":\"2026-11-25\"}\nfinish tools\nthink\nspeech: Yes.\nsay: Yes.\nfinish complete\nlisten\ncaller: go on\nthink");
        stage.now += Duration::from_secs(60);
    }
    let first = &stage.prompts[0];
    for pair in stage.prompts.windows(2) {
        assert_eq!((&pair[1].instructions, &pair[1].tools), (&first.instructions, &first.tools));
        let (before, after): (Vec<_>, Vec<_>) =
            (pair[0].messages.iter().map(shown).collect(), pair[1].messages.iter().map(shown).collect());
        assert!(after.starts_with(&before), "{before:?} is no start of {after:?}");
    }
}

#[test]
fn only_what_was_heard_of_an_interrupted_answer_stays_in_the_history() {
    let stage = Stage::after(
        CLINIC,
        "
        say: Hello.
        listen
        caller: When can I come?
        think
        speech: We have ten, eleven and twelve.
        say: We have ten, eleven and twelve.
        speech: Which one?
        say: Which one?
        cut: We have ten,
        caller: ten is fine
        stop
        think
        ",
    );
    assert_eq!(
        stage.messages(),
        ["agent: Hello.", "caller: When can I come?", "agent: We have ten,", "caller: ten is fine"]
    );
}

#[test]
fn words_spoken_while_the_model_thinks_are_thought_about_together() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("caller: for my daughter\nstop\nthink");
    assert_eq!(stage.messages(), ["agent: Hello.", "caller: I need an appointment", "caller: for my daughter"]);
}

#[test]
fn what_still_comes_of_a_stopped_answer_is_ignored() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    let stopped = stage.thinking;
    stage.play("caller: for my daughter\nstop\nthink");
    for event in [
        ThoughtEvent::Speech(Pii::new("Old news.".into())),
        ThoughtEvent::Finished(Finish::Complete),
        ThoughtEvent::Failed { kind: "timeout", retryable: false },
    ] {
        stage.put(Input::Thought { request: stopped, event });
    }
    stage.play("speech: How old is she?\nsay: How old is she?\nfinish complete\nlisten");
}

#[test]
fn an_answer_cut_by_the_token_limit_is_said_as_it_is() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("speech: We open at\nsay: We open at\nfinish length\nlisten");
}

#[test]
fn an_endless_answer_is_stopped() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    let piece = "word ".repeat(80);
    let mut said = 0;
    while !matches!(stage.conversation.state, State::Asking(_)) {
        stage.thought(ThoughtEvent::Speech(Pii::new(piece.clone())));
        said += 1;
        assert!(said < 100, "the model talks for ever");
    }
    let seen: Vec<String> = stage.seen.drain(..).collect();
    assert_eq!(seen[seen.len() - 2..], ["stop", "listen"]);
    assert!((5..10).contains(&said));
}

#[test]
fn a_refusal_and_a_filter_meet_the_response_of_the_file() {
    for finish in ["refused", "filtered"] {
        let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
        stage.play(&format!(
            "finish {finish}\nsay: I can't talk about that.\nlisten\ncaller: please\nthink\nfinish {finish}\n\
             say: Let us leave that.\nlisten\ncaller: but why\nthink\nfinish {finish}\nsay: I give up.\ntransfer desk"
        ));
        assert!(stage.notes.contains(&"model_refused".to_owned()), "{:?}", stage.notes);
    }
}

#[test]
fn calls_of_a_refused_answer_are_not_run() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play(
        "call a exit_done\nfinish refused\nsay: I can't talk about that.\nlisten\ncaller: well\nthink\n\
         speech: Yes?\nsay: Yes?\nfinish complete\nlisten",
    );
}

#[test]
fn an_empty_answer_counts_as_a_failed_attempt_and_a_good_one_wipes_it_out() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    for _ in 0..3 {
        stage.play(
            "speech:  \nfinish complete\nsay: Sorry?\nlisten\ncaller: hm well\nthink\nfinish complete\nsay: Sorry?\n\
             listen\ncaller: an appointment\nthink\nspeech: Yes.\nsay: Yes.\nfinish complete\nlisten\ncaller: so\nthink",
        );
    }
}

#[test]
fn a_silent_caller_is_asked_and_then_let_go() {
    let mut stage = Stage::after(CLINIC, "say: Hello.\nlisten");
    stage
        .play("silence\nsay: Hello?\nlisten\nsilence\nsay: Hello?\nlisten\nsilence\nsay: Nobody there.\nhangup silent");
}

#[test]
fn silence_while_the_model_thinks_is_nobodys_fault() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("silence\nspeech: Yes.\nsay: Yes.\nfinish complete\nlisten");
}

#[test]
fn a_model_that_is_down_meets_the_response_of_the_file() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("failed timeout\nsay: Out of order.\ntransfer desk");
    assert!(stage.notes.contains(&"provider_down".to_owned()) && stage.notes.contains(&"timeout".to_owned()));
}

#[test]
fn a_model_that_says_nothing_is_asked_again_behind_a_word_to_the_caller() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("flaky timeout\nsay: One moment, please.\nthink");
    assert!(!stage.messages().iter().any(|message| message.contains("One moment")), "the model need not know");
    stage.play("flaky timeout\nsay: Out of order.\ntransfer desk");
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_once_more() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("speech: Gladly.\nsay: Gladly.\nflaky timeout\nthink");
    let messages = stage.messages();
    assert_eq!(messages[2], "agent: Gladly.");
    assert!(messages[3].starts_with("caller: ("), "{messages:?}");
    stage.play("flaky timeout\nsay: Out of order.\ntransfer desk");
}

#[test]
fn text_to_speech_down_stops_the_answer_and_busy_does_not() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("busy x\ndown x\nstop\nsay: Out of order.\ntransfer desk");
}

#[test]
fn a_caller_who_wants_a_human_is_put_through_without_asking_the_model() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("caller: I want to speak to a person\nstop\nsay: Of course.\ntransfer desk");
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("keys: 0\nstop\nsay: Of course.\ntransfer desk");
}

#[test]
fn a_farewell_ends_the_call_and_thats_all_is_for_the_model() {
    let mut stage = Stage::after(
        CLINIC,
        "say: Hello.\nlisten\ncaller: no, that's all\nthink\nspeech: Fine.\nsay: Fine.\nfinish complete\nlisten",
    );
    stage.play("caller: goodbye\nsay: Bye.\nhangup bye");
}

#[test]
fn pardon_repeats_the_last_answer_without_the_model_and_hello_is_answered_by_it() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("speech: Which day?\nsay: Which day?\nfinish complete\nlisten\ncaller: pardon?\nsay: Which day?\nlisten\ncaller: hello\nthink");
}

#[test]
fn mumbling_is_not_acted_on() {
    let mut stage = Stage::after(CLINIC, "say: Hello.\nlisten");
    stage.play("mumble: appoint what\nsay: I'm sorry, I couldn't hear you well.\nlisten");
}

#[test]
fn a_question_the_file_answers_is_answered_in_place() {
    let mut stage = Stage::after(CLINIC, "say: Hello.\nlisten");
    stage.play("caller: is there parking\nsay: You can park behind the house.\nlisten\ncaller: and an appointment please\nthink");
    assert_eq!(stage.messages()[2], "agent: You can park behind the house.");
}

#[test]
fn keys_reach_the_model_but_not_the_record() {
    let mut stage = Stage::after(CLINIC, "say: Hello.\nlisten\nkeys: 5550134#\nthink");
    assert_eq!(stage.messages()[1], "caller: (on the keypad: 5550134#)");
    let history: Vec<&str> = stage.conversation.memory().history().iter().map(|t| t.text.expose().as_str()).collect();
    assert_eq!(history, ["Hello.", "(8 keys pressed)"]);
    assert!(stage.listens.pop().is_some_and(|listen| listen.digits.is_some() && listen.expect == Expect::Open));
}

#[test]
fn an_exit_leads_on_and_what_was_said_before_it_is_heard() {
    let mut stage = Stage::after(CLINIC, UP_TO_FIRST_WORDS);
    stage.play("speech: All set.\nsay: All set.\ncall a exit_done\nfinish tools\nsay: Goodbye.\nhangup done completed");
    assert!(stage.conversation.is_over());
}

#[test]
fn a_model_may_speak_first_and_is_given_a_cue() {
    let file = CLINIC.replace("opening: [Hello., Hello again.]", "speak_first: true");
    let mut stage = Stage::after(&file, "think");
    assert_eq!(stage.messages(), ["caller: (The caller waits for you to speak.)"]);
    stage.play("speech: Good morning.\nsay: Good morning.\nfinish complete\nlisten");
}

#[test]
fn without_opening_a_fresh_call_listens_and_a_caller_who_has_spoken_is_answered() {
    let file = CLINIC.replace("    opening: [Hello., Hello again.]\n", "");
    Stage::after(&file, "listen\ncaller: hello there\nthink");
    let file = file
        .replace("start: talk", "start: other")
        .replace("route: {parking: bye}", "route: {visit: talk}")
        .replace("intents:\n", "intents:\n  visit: {keywords: [appointment]}\n");
    let stage = Stage::after(&file, "say: What else?\nlisten\ncaller: an appointment please\nthink");
    assert_eq!(stage.messages(), ["agent: What else?", "caller: an appointment please"]);
}

#[test]
fn a_second_visit_has_its_own_opening_and_the_whole_history() {
    let file =
        CLINIC.replace("exits: {done: {go: bye, when: all is said}, menu: other}", "exits: {done: bye, menu: talk}");
    let mut stage = Stage::after(&file, UP_TO_FIRST_WORDS);
    stage.play("call a exit_menu\nfinish tools\nsay: Hello again.\nlisten\ncaller: hm so what\nthink");
    assert_eq!(
        stage.messages(),
        [
            "agent: Hello.",
            "caller: I need an appointment",
            "agent:  [a exit_menu]",
            "a: {}",
            "agent: Hello again.",
            "caller: hm so what"
        ]
    );
}

#[test]
fn values_are_overheard_where_the_node_listens_for_them() {
    let file = CLINIC.replace("    collect:", "    listen_for: [day, time]\n    collect:");
    let stage = Stage::after(&file, "say: Hello.\nlisten\ncaller: tomorrow at three in the afternoon\nthink");
    assert_eq!((stage.value("day"), stage.value("time")), ("2026-11-24".into(), "15:00".into()));
    let stage = Stage::after(&file, "say: Hello.\nlisten\ncaller: tomorrow at eight in the evening\nthink");
    assert_eq!((stage.value("day"), stage.value("time")), ("2026-11-24".into(), Value::Null));
}
