//! The items of a conversation as the vendor orders them (`previous_item_id`), and which of them are turns of the caller.
//!
//! Their transcriptions come when they are done, which may be in another order (openai-python 3.54.0, `types/realtime`).

use crate::base::Pii;
use crate::providers::realtime::protocol::{Answered, TurnId};
use std::collections::VecDeque;

/// Items remembered: a transcription concerns one of the last.
const ITEMS: usize = 32;

#[derive(Debug, Default)]
struct Item {
    id: String,
    previous: String,
    turn: Option<TurnId>,
    told: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Order {
    items: VecDeque<Item>,
    turns: u32,
}

impl Order {
    /// An item stands behind another one; without that, last.
    pub(super) fn place(&mut self, id: &str, previous: &str) {
        if id.is_empty() || self.items.iter().any(|item| item.id == id) {
            return;
        }
        let behind = self.items.iter().position(|item| item.id == previous).map(|place| place + 1);
        let before = || self.items.iter().position(|item| item.previous == id);
        let place = behind.or_else(before).unwrap_or(self.items.len());
        let (id, previous) = (id.to_owned(), previous.to_owned());
        self.items.insert(place, Item { id, previous, ..Item::default() });
        if self.items.len() > ITEMS {
            self.items.pop_front();
        }
    }

    /// The item is a turn of the caller.
    pub(super) fn turn(&mut self, id: &str, events: &mut Vec<Answered>) {
        let Some(place) = self.items.iter().position(|item| item.id == id && item.turn.is_none()) else { return };
        let turn = TurnId(self.turns.saturating_add(1));
        self.turns = turn.0;
        let before = self.items.iter().skip(place).find_map(|item| item.turn);
        if let Some(item) = self.items.get_mut(place) {
            item.turn = Some(turn);
        }
        events.push(Answered::CallerTurn { turn, before });
    }

    /// The words of an item, empty when there are none: once.
    pub(super) fn said(&mut self, id: &str, words: &str, events: &mut Vec<Answered>) {
        let text = Some(words.trim()).filter(|words| !words.is_empty()).map(|words| Pii::new(words.to_owned()));
        self.place(id, "");
        self.turn(id, events);
        let Some(item) = self.items.iter_mut().find(|item| item.id == id) else {
            // A server that names no items.
            events.extend(text.map(Answered::CallerSaid));
            return;
        };
        if let Some(turn) = item.turn.filter(|_| !std::mem::replace(&mut item.told, true)) {
            events.push(Answered::TurnSaid { turn, text });
        }
    }
}
