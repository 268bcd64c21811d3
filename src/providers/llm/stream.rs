//! The shell around a vendor of language models: a task per answer that sends the request, reads the events and watches
//! the clock. It ends when the answer does, or at once when nobody listens any more.

use super::fault::ended_early;
use super::flow::Flow;
use super::protocol::LlmVendor;
use super::sse::Events;
use super::{LanguageModel, LlmCapabilities, Prompt, Thought, ThoughtStream};
use crate::providers::exchange::{Exchange, Refusal};
use crate::providers::limits::PATIENCE;
use crate::providers::wire::Request;
use crate::providers::{Meter, Network, ProviderError, ProviderName, Settings};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

/// Pieces of an answer that may wait for the call's driver; then the vendor's connection waits.
const THOUGHTS: usize = 64;
/// Connections that are warmed at one time: a flood of calls is no flood for the vendor.
const WARMING: usize = 4;
/// After the last piece the vendor has this long to end its answer, so that the connection can be used again.
const GOODBYE: Duration = Duration::from_millis(500);

/// A [`LanguageModel`] made of a vendor's protocol. Needs a tokio runtime around [`LanguageModel::think`] and
/// [`LanguageModel::warm`].
pub struct Streaming<V> {
    model: Arc<Model<V>>,
}

struct Model<V> {
    vendor: V,
    name: ProviderName,
    network: Network,
    meter: Arc<Meter>,
    /// A place per answer under way with this key.
    places: Arc<Semaphore>,
    concurrency: usize,
    warming: Arc<Semaphore>,
    patience: Duration,
    first_timeout: Duration,
    stall_timeout: Duration,
}

impl<V> std::fmt::Debug for Streaming<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streaming").field("name", &self.model.name).finish_non_exhaustive()
    }
}

impl<V: LlmVendor> Streaming<V> {
    /// The vendor behind the deadlines and limits of its settings. Opens no connection.
    pub fn new(vendor: V, settings: &Settings, network: &Network) -> Self {
        let meter = Arc::default();
        let model = Model {
            vendor,
            name: settings.name.clone(),
            network: network.of_provider(settings.connect_timeout, &meter),
            meter,
            places: Arc::new(Semaphore::new(settings.concurrency.min(Semaphore::MAX_PERMITS))),
            concurrency: settings.concurrency,
            warming: Arc::new(Semaphore::new(WARMING)),
            patience: settings.patience(PATIENCE),
            first_timeout: settings.first_timeout,
            stall_timeout: settings.stall_timeout,
        };
        Self { model: Arc::new(model) }
    }
}

impl<V: LlmVendor> LanguageModel for Streaming<V> {
    fn name(&self) -> ProviderName {
        self.model.name.clone()
    }

    fn capabilities(&self) -> LlmCapabilities {
        self.model.vendor.capabilities()
    }

    fn meter(&self) -> Option<Arc<Meter>> {
        Some(Arc::clone(&self.model.meter))
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.model.patience)
    }

    fn warm(&self) {
        self.model.warm();
    }

    fn think(&self, prompt: Arc<Prompt>) -> Result<ThoughtStream, ProviderError> {
        let model = Arc::clone(&self.model);
        let Ok(place) = Arc::clone(&model.places).try_acquire_owned() else {
            let error = ProviderError::Busy { provider: model.name.clone(), waiting: model.concurrency };
            model.meter.failed(&error);
            return Err(error);
        };
        model.meter.began();
        let (sender, receiver) = mpsc::channel(THOUGHTS);
        tokio::spawn(async move {
            let answer = tokio::select! {
                biased;
                () = sender.closed() => None,
                answer = model.answer(&prompt, &sender) => Some(answer),
            };
            drop(place);
            match answer {
                // The exchange is closed with its connection: the next turn is about to need another.
                None => model.warm(),
                Some(Ok(exchange)) => {
                    drop(sender);
                    finish(exchange).await;
                }
                Some(Err(error)) => {
                    model.meter.failed(&error);
                    // Nobody listens: then nobody needs to know.
                    let _ = sender.send(Err(error)).await;
                }
            }
        });
        Ok(receiver)
    }
}

impl<V: LlmVendor> Model<V> {
    fn warm(self: &Arc<Self>) {
        let (Some(request), Ok(place)) = (self.vendor.warm(), Arc::clone(&self.warming).try_acquire_owned()) else {
            return;
        };
        let model = Arc::clone(self);
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = model.fetch(&request).await {
                tracing::debug!(provider = %model.name, %error, "no connection ahead of the call");
            }
        });
    }

    /// Reads a whole answer and forgets it.
    async fn fetch(&self, request: &Request) -> Result<(), ProviderError> {
        let limit = self.first_timeout;
        if let Ok(exchange) = Exchange::begin(self.name.clone(), &self.network, request, limit).await? {
            exchange.whole(limit).await?;
        }
        Ok(())
    }

    /// One answer from request to [`Thought::Finished`]; what is left of the exchange comes back.
    async fn answer(
        &self,
        prompt: &Prompt,
        thoughts: &mpsc::Sender<Result<Thought, ProviderError>>,
    ) -> Result<Exchange, ProviderError> {
        let begun = Instant::now();
        let mut flow = Flow::new(self.first_timeout, self.stall_timeout, begun.into_std());
        let request = self.vendor.request(prompt);
        let mut exchange = match self.begin(&request, begun).await {
            Ok(Ok(exchange)) => exchange,
            Ok(Err(refusal)) => return Err(self.vendor.refused(refusal)),
            Err(ProviderError::Timeout { stage: "answer", .. }) => return Err(self.late(0)),
            Err(error) => return Err(error),
        };
        let mut reply = self.vendor.reply();
        let (mut parser, mut events, mut ready) = (Events::default(), Vec::new(), Vec::new());
        let mut progress = 0;
        loop {
            let part = timeout_at(flow.deadline().into(), exchange.next()).await;
            let part = match part.unwrap_or_else(|_| Err(self.late(progress))) {
                Ok(Some(part)) => part,
                // A vendor that gave its reason to end needs no orderly end.
                ending => {
                    let ended = reply.ended(&mut ready);
                    let (Ok(()), true) = (&ended, hand_over(&mut ready, thoughts, &self.meter).await) else {
                        return Err(ending.err().or_else(|| ended.err()).unwrap_or_else(|| ended_early(&self.name)));
                    };
                    return Ok(exchange);
                }
            };
            if let Err(error) = parser.push(&part, &mut events) {
                return Err(ProviderError::Protocol { provider: self.name.clone(), reason: error.to_string() });
            }
            for event in events.drain(..) {
                reply.event(event.name.as_deref(), &event.data, &mut ready)?;
                if progress == 0 && reply.progress() > 0 {
                    self.meter.first(begun.elapsed());
                }
                let further = reply.progress() > progress || !ready.is_empty();
                progress = reply.progress();
                let characters = ready.iter().map(characters).sum();
                if hand_over(&mut ready, thoughts, &self.meter).await {
                    return Ok(exchange);
                }
                if further && progress > 0 {
                    flow.piece(characters, Instant::now().into_std());
                }
            }
        }
    }

    /// Sends the request, and once more when the connection broke before any answer: the vendor may have closed one
    /// that lay idle just when it was used.
    async fn begin(&self, request: &Request, begun: Instant) -> Result<Result<Exchange, Refusal>, ProviderError> {
        let limit = self.first_timeout;
        let first = Exchange::begin(self.name.clone(), &self.network, request, limit).await;
        let left = limit.saturating_sub(begun.elapsed());
        match first {
            Err(ProviderError::Transient { .. }) if left > limit / 2 => {
                Exchange::begin(self.name.clone(), &self.network, request, left).await
            }
            first => first,
        }
    }

    fn late(&self, progress: u64) -> ProviderError {
        let (stage, after) =
            if progress == 0 { ("first word", self.first_timeout) } else { ("sign of life", self.stall_timeout) };
        ProviderError::Timeout { provider: self.name.clone(), stage, after }
    }
}

/// What of a piece is to be said.
fn characters(thought: &Thought) -> usize {
    match thought {
        Thought::Text(words) => words.expose().chars().count(),
        Thought::Call(_) | Thought::Finished { .. } => 0,
    }
}

/// Hands over what is ready; true once it was the end.
async fn hand_over(
    ready: &mut Vec<Thought>,
    thoughts: &mpsc::Sender<Result<Thought, ProviderError>>,
    meter: &Meter,
) -> bool {
    let mut finished = false;
    for thought in ready.drain(..) {
        if let Thought::Finished { usage, .. } = &thought {
            meter.used(*usage);
            finished = true;
        }
        // When nobody listens, the task is about to be told so.
        let _ = thoughts.send(Ok(thought)).await;
    }
    finished
}

/// Reads to the end of the body, which gives the connection back to the pool.
async fn finish(mut exchange: Exchange) {
    let reading = async { while let Ok(Some(_)) = exchange.next().await {} };
    // A connection that is not given back is closed.
    let _ = timeout(GOODBYE, reading).await;
}
