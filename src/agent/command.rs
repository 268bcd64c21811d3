//! What a caller may say at any point of any conversation: "pardon?", "one moment", "a human, please", "goodbye".

use super::slot::Words;

/// A request about the conversation itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    /// Wants to end the call.
    Goodbye,
    /// Says hello, or "are you there?".
    Greeting,
    /// Does not know what to say.
    Help,
    /// Wants a person.
    Human,
    /// Did not hear.
    Repeat,
    /// Needs a moment.
    Wait,
}

/// Phrases that ask for a person wherever they occur.
const HUMAN: &[&str] = &[
    "real person",
    "real human",
    "human being",
    "a human",
    "an agent",
    "live agent",
    "human agent",
    "operator",
    "a person",
    "an actual person",
    "actual human",
    "speak to someone",
    "talk to a person",
    "speak to a person",
    "get me a person",
    "get me a human",
    "talk to someone",
    "speak with someone",
    "talk with someone",
    "speak to somebody",
    "talk to somebody",
    "speak with somebody",
    "customer service",
    "a representative",
    "representative",
    "receptionist",
    "front desk",
    "someone real",
    "not a robot",
    "not a machine",
    "a colleague",
    "get me someone",
    "put me through",
    "connect me",
    "transfer me",
    "human please",
];

/// What follows "speak to a" and "put me through" when it is no request for a person.
const NO_HUMAN: &[&str] = &["don't want a human", "don't need a person", "don't transfer me", "don't connect me"];

const REPEAT: &[&str] = &[
    "pardon",
    "pardon me",
    "i beg your pardon",
    "beg your pardon",
    "say that again",
    "say it again",
    "say again",
    "repeat that",
    "repeat",
    "please repeat",
    "can you repeat that",
    "could you repeat that",
    "can you repeat",
    "could you repeat",
    "what did you say",
    "what was that",
    "come again",
    "i didn't hear you",
    "i didn't hear that",
    "i didn't catch that",
    "i did not hear that",
    "i couldn't hear you",
    "i can't hear you",
    "once more",
    "one more time",
    "what",
    "huh",
    "excuse me",
    "sorry",
    "again",
    "again please",
    "could you say that again",
    "can you say that again",
    "i didn't get that",
    "i missed that",
    "sorry i didn't hear that",
    "sorry i didn't catch that",
    "can you repeat the question",
    "what was the question",
    "could you repeat the question",
    "would you repeat that",
];

const WAIT: &[&str] = &[
    "wait",
    "wait a moment",
    "wait a minute",
    "wait a second",
    "one moment",
    "just a moment",
    "a moment",
    "hold on",
    "hang on",
    "one second",
    "just a second",
    "one sec",
    "just a sec",
    "give me a second",
    "give me a moment",
    "give me a minute",
    "one minute",
    "just a minute",
    "hold on a second",
    "hold on a moment",
    "hold on a minute",
    "hang on a second",
    "let me check",
    "let me think",
    "let me see",
    "let me look",
    "i need a moment",
    "bear with me",
    "let me get my calendar",
    "let me check my calendar",
    "hold the line",
    "moment",
    "wait please",
];

const GOODBYE: &[&str] = &[
    "goodbye",
    "good bye",
    "bye",
    "bye bye",
    "see you",
    "that's all",
    "that is all",
    "that's it thanks",
    "that was all",
    "that will be all",
    "that'll be all",
    "nothing else",
    "have a good day",
    "have a nice day",
    "talk to you later",
    "i'm done",
    "i have to go",
    "i've got to go",
    "hang up",
    "no that's all",
    "no that was all",
    "see you then",
    "see you tomorrow",
    "never mind goodbye",
    "that's everything",
    "no nothing else",
    "end the call",
    "have a good one",
];

const HELP: &[&str] = &[
    "help",
    "help me",
    "what can i say",
    "what can you do",
    "what are my options",
    "what are the options",
    "i need help",
    "what do i do",
    "i don't understand",
    "i do not understand",
    "i don't know what to say",
    "what do you mean",
    "what can i do",
    "who are you",
    "are you a robot",
    "is this a robot",
    "am i talking to a robot",
    "are you human",
];

const GREETING: &[&str] = &[
    "hello",
    "hi",
    "hey",
    "hi there",
    "hello there",
    "hey there",
    "good morning",
    "good afternoon",
    "good evening",
    "good day",
    "are you there",
    "are you still there",
    "is anybody there",
    "is anyone there",
    "anybody there",
    "how are you",
    "how are you doing",
    "nice to meet you",
];

/// Polite words that may stand around a command.
const AROUND: &[&str] = &[
    "please", "thanks", "thank", "you", "uh", "um", "oh", "okay", "ok", "yes", "yeah", "so", "well", "then", "very",
    "much", "just", "sorry", "no", "for", "me", "your", "time", "alright", "now", "can", "could", "right", "and",
    "great", "perfect",
];

/// The command an utterance is, if it is one. Only [`Command::Human`] is recognised inside a longer one.
#[must_use]
pub fn find(words: &Words<'_>) -> Option<Command> {
    if words.contains_any(HUMAN)
        && !words.contains_any(NO_HUMAN)
        && !words.contains_any(&["are you a human", "talk to a robot"])
    {
        return Some(Command::Human);
    }
    // Goodbye first: "no, that's all, thank you, bye" is full of other words.
    for (phrases, command) in [
        (GOODBYE, Command::Goodbye),
        (WAIT, Command::Wait),
        (REPEAT, Command::Repeat),
        (HELP, Command::Help),
        (GREETING, Command::Greeting),
    ] {
        if consists_of(words, phrases) {
            return Some(command);
        }
    }
    None
}

/// Whether the utterance is made of these phrases and polite words alone, at least one phrase among them.
fn consists_of(words: &Words<'_>, phrases: &[&str]) -> bool {
    let mut index = 0;
    let mut any = false;
    while index < words.len() {
        if let Some(length) = words.reads_any(index, phrases) {
            any = true;
            index += length;
        } else if AROUND.contains(&words.at(index)) {
            index += 1;
        } else {
            return false;
        }
    }
    any
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_recognised_in_their_usual_words() {
        for (text, expected) in [
            ("Pardon?", Some(Command::Repeat)),
            ("Sorry, what did you say?", Some(Command::Repeat)),
            ("could you say that again please", Some(Command::Repeat)),
            ("What?", Some(Command::Repeat)),
            ("One moment please.", Some(Command::Wait)),
            ("hold on, let me check", Some(Command::Wait)),
            ("wait a second", Some(Command::Wait)),
            ("Goodbye.", Some(Command::Goodbye)),
            ("No, that's all, thank you. Bye.", Some(Command::Goodbye)),
            ("Okay thank you very much, goodbye", Some(Command::Goodbye)),
            ("operator", Some(Command::Human)),
            ("I'd like to speak to a real person", Some(Command::Human)),
            ("can I talk to someone please", Some(Command::Human)),
            ("can you get me a cleaning tomorrow", None),
            ("help", Some(Command::Help)),
            ("Hi there.", Some(Command::Greeting)),
            ("Hello? Are you there?", Some(Command::Greeting)),
            ("hello I need an appointment", None),
            ("I don't understand", Some(Command::Help)),
            ("yes", None),
            ("no", None),
            ("thank you", None),
            ("wait, make that Thursday", None),
            ("what are your prices", None),
            ("again on Tuesday", None),
            ("", None),
            ("please don't transfer me", None),
        ] {
            assert_eq!(find(&Words::new(text)), expected, "{text}");
        }
    }
}
