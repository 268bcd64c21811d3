//! The only place where an effect of an agent is executed: limits, audit and replay live here.

use super::CallEvent;
use super::bot::BotCall;
use super::classify::classify;
use super::conversing::Brief;
use super::session::Session;
use crate::agent::{Effect, Input, Note, RequestId, ToolFailure};
use crate::base::Pii;
use crate::tools::ToolRequest;
use crate::turn::{Stage, TurnInput};
use std::sync::Arc;
use std::time::Instant;

impl Session {
    /// Does what the agent wants done.
    pub(super) fn execute(&mut self, now: Instant, effect: Effect) {
        match effect {
            Effect::Speak { utterance, text, interruptible, fixed } => {
                self.ledger.mark(Stage::FirstToken, now);
                self.legs.events.send(CallEvent::AgentSays { call: self.legs.call, text: Pii::new(text.clone()) });
                self.playout.speak(utterance, text, interruptible, fixed);
                self.announce_playout(now);
            }
            Effect::Listen(listen) => {
                match &listen.digits {
                    Some(digits) => self.digits.arm(digits.max, digits.terminator, digits.between_keys),
                    None => self.digits.disarm(),
                }
                self.with_speech(|speech| speech.expect(&listen.phrases));
                self.turn.handle(now, TurnInput::Listen { expect: listen.expect, no_input: listen.no_input });
            }
            Effect::Classify { request, text, labels } => {
                let (embedder, answers) = (Arc::clone(&self.engines.embedder), self.answers.clone());
                let exemplars = Arc::clone(&self.engines.exemplars);
                tokio::spawn(async move {
                    let ranking = classify(embedder.as_ref(), &exemplars, text.into_exposed(), labels).await;
                    // The call may be over by then.
                    let _ = answers.send(Input::Classified { request, ranking });
                });
            }
            Effect::CallTool { request, tool, arguments, idempotency_key, confirmed } => {
                self.call_tool(now, request, ToolRequest { tool, arguments, idempotency_key, confirmed });
            }
            Effect::Think { request, prompt } => self.think(now, request, prompt),
            Effect::StopThinking { request } => self.thinking.stop(request),
            Effect::Converse { request, instructions, tools, messages, opening, speak_first, no_input } => {
                let brief = Brief { instructions, tools, messages, opening, speak_first, no_input };
                self.converse(now, request, brief);
            }
            Effect::ToolAnswer { call, tool, content, failed, .. } => {
                self.answer_tool(&call, &tool, content.expose(), failed);
            }
            Effect::EndConverse { request } => self.end_converse(request),
            Effect::Transfer { request, destination, context, announcement } => {
                self.transfer(now, request, destination, &context, announcement);
            }
            Effect::Hangup { reason, completed, headers } => {
                // What cannot stand in a header, a line break above all, becomes a blank.
                let clean = |text: String| text.replace(|c: char| c.is_control(), " ");
                let headers = headers.into_iter().map(|(name, value)| (name, clean(value.into_exposed())));
                self.bye_headers = headers.collect();
                self.legs.hangup = Some((reason, completed));
            }
            Effect::Note(note) => self.legs.events.send(self.note(note)),
        }
    }

    fn call_tool(&mut self, now: Instant, request: RequestId, wanted: ToolRequest) {
        let tool = wanted.tool.clone();
        match self.gate.admit(wanted) {
            Ok(admitted) => {
                let (tools, answers) = (Arc::clone(&self.setup.tools), self.answers.clone());
                let (events, call) = (self.legs.events.clone(), self.legs.call);
                let spent = self.tool_time.clone();
                tokio::spawn(async move {
                    let outcome = tools.run(admitted).await;
                    let verdict =
                        outcome.result.as_ref().map_or_else(|failure| failure.kind.clone(), |_| "ok".to_owned());
                    events.send(CallEvent::ToolFinished { call, tool, outcome: verdict, took: outcome.took });
                    let _ = spent.send(outcome.took);
                    let _ = answers.send(Input::ToolFinished { request, outcome: outcome.result });
                });
            }
            Err(denied) => {
                let failure = ToolFailure::from(denied);
                let event = CallEvent::ToolFinished {
                    call: self.legs.call,
                    tool,
                    outcome: failure.kind.clone(),
                    took: std::time::Duration::ZERO,
                };
                self.legs.events.send(event);
                self.conversation.handle(now, Input::ToolFinished { request, outcome: Err(failure) });
            }
        }
    }

    fn note(&self, note: Note) -> CallEvent {
        let call = self.legs.call;
        match note {
            Note::NodeEntered { node } => CallEvent::NodeEntered { call, node },
            Note::SlotFilled { slot, value, corrected } => CallEvent::SlotFilled { call, slot, value, corrected },
            Note::FailureHandled { kind, node } => CallEvent::FailureHandled { call, kind: kind.to_owned(), node },
        }
    }
}

impl BotCall {
    /// Does what a bot wants done: it may hand the call to one of the file's destinations, or end it.
    pub(super) fn execute(&mut self, effect: Effect) {
        match effect {
            Effect::Transfer { request, destination, context, announcement } => {
                self.legs.transfer(&self.setup.agent.destinations, request, destination, &context, announcement);
            }
            Effect::Hangup { reason, completed, .. } => {
                self.legs.hangup.get_or_insert((reason, completed));
            }
            // Only a flow speaks, listens, classifies, calls tools and asks models here.
            Effect::Speak { .. }
            | Effect::Listen(_)
            | Effect::Classify { .. }
            | Effect::CallTool { .. }
            | Effect::Think { .. }
            | Effect::StopThinking { .. }
            | Effect::Converse { .. }
            | Effect::ToolAnswer { .. }
            | Effect::EndConverse { .. }
            | Effect::Note(_) => {}
        }
    }
}
