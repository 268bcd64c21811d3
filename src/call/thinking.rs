//! The language model at work: its words become sentences that are said while the rest is still being thought.

use super::session::Session;
use crate::agent::{Input, RequestId, ThoughtEvent};
use crate::base::Pii;
use crate::base::chat::Prompt;
use crate::providers::ProviderError;
use crate::providers::llm::{Thought, ThoughtStream};
use crate::providers::speakable::Speakable;
use crate::turn::Stage;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What a thought has to tell the call.
#[derive(Debug)]
pub(super) enum ThoughtNews {
    /// The first token of an answer came.
    FirstToken(Instant),
    /// For the conversation.
    Event(RequestId, ThoughtEvent),
}

/// The thoughts under way. Dropping it stops them.
#[derive(Debug)]
pub(super) struct Thinking {
    under_way: Vec<(RequestId, AbortHandle)>,
    news: mpsc::UnboundedSender<ThoughtNews>,
}

impl Drop for Thinking {
    fn drop(&mut self) {
        self.stop_all();
    }
}

impl Thinking {
    /// Nothing is thought of, and the place where news arrive.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<ThoughtNews>) {
        let (news, receiver) = mpsc::unbounded_channel();
        (Self { under_way: Vec::new(), news }, receiver)
    }

    fn begin(&mut self, request: RequestId, stream: ThoughtStream, language: &str) {
        self.under_way.retain(|(_, task)| !task.is_finished());
        let task = tokio::spawn(read(request, stream, Speakable::new(language), self.news.clone()));
        self.under_way.push((request, task.abort_handle()));
    }

    /// Stops a thought: the vendor's stream is closed with it.
    pub(super) fn stop(&mut self, request: RequestId) {
        self.under_way.retain(|(known, task)| {
            if *known == request {
                task.abort();
            }
            *known != request
        });
    }

    /// Stops all of them.
    pub(super) fn stop_all(&mut self) {
        for (_, task) in self.under_way.drain(..) {
            task.abort();
        }
    }
}

/// Reads an answer to its end.
async fn read(
    request: RequestId,
    mut stream: ThoughtStream,
    mut speakable: Speakable,
    news: mpsc::UnboundedSender<ThoughtNews>,
) {
    let tell = |event| news.send(ThoughtNews::Event(request, event)).is_ok();
    let mut has_begun = false;
    while let Some(thought) = stream.recv().await {
        if !std::mem::replace(&mut has_begun, true) {
            let _ = news.send(ThoughtNews::FirstToken(Instant::now()));
        }
        let goes_on = match thought {
            Ok(Thought::Text(text)) => {
                speakable.push(text.expose()).into_iter().all(|clause| tell(ThoughtEvent::Speech(Pii::new(clause))))
            }
            Ok(Thought::Call(call)) => {
                let rest = speakable.finish();
                rest.into_iter().all(|clause| tell(ThoughtEvent::Speech(Pii::new(clause))))
                    && tell(ThoughtEvent::Call(call))
            }
            Ok(Thought::Finished { finish, .. }) => {
                let rest = speakable.finish();
                let _ = rest.into_iter().all(|clause| tell(ThoughtEvent::Speech(Pii::new(clause))))
                    && tell(ThoughtEvent::Finished(finish));
                return;
            }
            Err(error) => {
                let _ = tell(failed(&error));
                return;
            }
        };
        if !goes_on {
            return;
        }
    }
    let _ = tell(ThoughtEvent::Failed { kind: "protocol", retryable: true });
}

fn failed(error: &ProviderError) -> ThoughtEvent {
    tracing::info!(%error, "thought_failed");
    ThoughtEvent::Failed { kind: error.kind(), retryable: error.is_retryable() }
}

impl Session {
    /// Asks the language model.
    pub(super) fn think(&mut self, now: Instant, request: RequestId, prompt: Pii<Prompt>) {
        let Some(llm) = &self.engines.llm else {
            let event = ThoughtEvent::Failed { kind: "not_configured", retryable: false };
            self.conversation.handle(now, Input::Thought { request, event });
            return;
        };
        match llm.think(Arc::new(prompt.into_exposed())) {
            Ok(stream) => self.thinking.begin(request, stream, &self.setup.agent.language),
            Err(error) => self.conversation.handle(now, Input::Thought { request, event: failed(&error) }),
        }
    }

    /// News of a thought.
    pub(super) fn on_thought(&mut self, news: ThoughtNews) {
        match news {
            ThoughtNews::FirstToken(at) => self.ledger.mark(Stage::FirstToken, at),
            ThoughtNews::Event(request, event) => {
                self.conversation.handle(Instant::now(), Input::Thought { request, event });
            }
        }
    }
}
