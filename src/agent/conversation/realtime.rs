//! A `converse` node whose model hears and speaks by itself. Tools, exits and failures stay where they are in every
//! other node: here.

use super::converse::{Channel, is_for_model};
use super::{Conversation, Speaker, State};
use crate::agent::command::{self, Command};
use crate::agent::effect::{Effect, RequestId};
use crate::agent::flow::Failure;
use crate::agent::limits::{MODEL_CALLS, MODEL_MISTAKES, MODEL_ROUNDS, TURNS};
use crate::agent::slot::{Words, bounded};
use crate::base::Pii;
use crate::base::chat::ToolCall;
use std::time::Duration;

impl Conversation {
    /// Whether a speech-to-speech model talks in `converse` nodes.
    pub(super) fn wants_realtime(&self) -> bool {
        self.agent.speech.realtime.is_some() && !self.realtime_down
    }

    /// Hands the caller to the speech-to-speech model.
    pub(super) fn go_live(&mut self, opening: Option<String>, speak_first: bool) {
        if speak_first {
            self.memory.dialogue.cue();
        }
        let request = self.next_request();
        let Some(talk) = &mut self.talk else { return };
        let node = self.agent.nodes.get(talk.node());
        let no_input = node.and_then(|node| node.question()).map_or(7_000, |question| question.no_input_ms);
        talk.channel = Channel::Live(request);
        talk.first = Some((opening.clone(), speak_first));
        self.effects.push_back(Effect::Converse {
            request,
            instructions: talk.instructions.expose().clone(),
            tools: talk.specs.clone(),
            messages: Pii::new(self.memory.dialogue.messages()),
            opening,
            speak_first,
            no_input: Duration::from_millis(no_input),
        });
        self.state = State::Conversing;
    }

    fn is_live(&self, request: RequestId) -> bool {
        self.talk.as_ref().is_some_and(|talk| talk.channel == Channel::Live(request))
    }

    pub(super) fn realtime_call(&mut self, request: RequestId, call: ToolCall) {
        if !self.is_live(request) {
            return;
        }
        let Some(talk) = self.talk.as_mut().filter(|talk| talk.calls.len() < MODEL_CALLS) else { return };
        self.rounds += 1;
        // Each call is an answer of its own, unless the one before it still runs.
        if talk.running.is_none() {
            talk.answer.failed = false;
        }
        if self.rounds > MODEL_ROUNDS || talk.mistakes > MODEL_MISTAKES {
            let asking = talk.asking.clone();
            return self.respond(&asking, Failure::RetriesUsedUp, 0);
        }
        talk.calls.push_back(call.clone());
        self.memory.dialogue.call(call);
        self.run_calls();
    }

    pub(super) fn realtime_said(&mut self, request: RequestId, speaker: Speaker, text: &str) {
        let text = bounded(text.trim());
        if text.is_empty() || matches!(self.state, State::Idle) {
            return;
        }
        match speaker {
            Speaker::Agent => self.memory.agent_said(text),
            Speaker::Caller => self.memory.caller_said(text),
        }
        if !self.is_live(request) {
            return;
        }
        let Some(talk) = &mut self.talk else { return };
        talk.first = None;
        if speaker == Speaker::Agent {
            return;
        }
        talk.asking.silences = 0;
        let asking = talk.asking.clone();
        self.turns += 1;
        if self.turns > TURNS {
            return self.give_up(asking.node, "call_too_long");
        }
        let words = Words::new(text);
        match command::find(&words) {
            Some(Command::Human) => self.respond(&asking, Failure::WantsHuman, 0),
            Some(command @ Command::Goodbye) if !is_for_model(command, &words, false) => {
                self.respond(&asking, Failure::Goodbye, 0)
            }
            _ if self.count_turn(text) => self.respond(&asking, Failure::RetriesUsedUp, 0),
            _ => {}
        }
    }

    /// The caller has been silent for as long as `Effect::Converse` allows.
    pub(super) fn realtime_silent(&mut self) {
        let Some(talk) = &mut self.talk else { return };
        talk.asking.silences += 1;
        let asking = talk.asking.clone();
        let retries = self.agent.nodes.get(asking.node).and_then(|node| node.question()).map_or(1, |q| q.retries);
        if asking.silences >= retries.max(1) {
            return self.respond(&asking, Failure::CallerSilent, 0);
        }
        self.note_failure(Failure::NoInput.name(), asking.node);
    }

    /// The session is gone: the language model goes on in its place, or the call meets its response.
    pub(super) fn realtime_failed(&mut self, request: RequestId) {
        if !self.is_live(request) {
            return;
        }
        let Some(talk) = &mut self.talk else { return };
        talk.channel = Channel::Own;
        self.realtime_down = true;
        let (asking, first) = (talk.asking.clone(), talk.first.take());
        let running = talk.running.as_ref().map(|running| running.request);
        self.note_failure("realtime_down", asking.node);
        if self.agent.speech.llm.is_none() {
            return self.respond(&asking, Failure::ProviderDown, 0);
        }
        if let Some(request) = running {
            self.state = State::CallingTool { request, node: asking.node, interruptions: 0 };
            return;
        }
        match first {
            Some((opening, speak_first)) => self.begin_talk(opening, speak_first),
            None if self.memory.dialogue.awaits_agent() => self.think(),
            None => self.ask(asking),
        }
    }
}
