//! From what a language model writes to what a voice says. Pure; used between every model and every voice.

pub mod normalize;
