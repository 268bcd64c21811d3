//! The tensors of the network, out of its ONNX file: as much of the format as that takes.
//!
//! An ONNX file is a protocol buffer (`onnx.proto`, <https://onnx.ai/onnx/api/classes.html>). Silero's holds two networks as
//! the branches of one `If`, and each branch its tensors as `Constant` nodes of the same names.

use std::collections::HashMap;

/// Numbers of fields in `onnx.proto`.
mod field {
    pub const MODEL_GRAPH: u64 = 7;
    pub const GRAPH_NODE: u64 = 1;
    pub const NODE_ATTRIBUTE: u64 = 5;
    pub const ATTRIBUTE_NAME: u64 = 1;
    pub const ATTRIBUTE_TENSOR: u64 = 5;
    pub const ATTRIBUTE_GRAPH: u64 = 6;
    pub const TENSOR_SHAPE: u64 = 1;
    pub const TENSOR_NAME: u64 = 8;
    pub const TENSOR_OCTETS: u64 = 9;
}

/// Named tensors of 32-bit floats.
#[derive(Debug)]
pub(super) struct Tensors<'a> {
    /// Shape, and the numbers as little-endian octets.
    by_name: HashMap<&'a [u8], (Vec<u64>, &'a [u8])>,
}

impl<'a> Tensors<'a> {
    /// The constants of `file` in the branch of this name. A file that is no ONNX, or ends early, has none or not all.
    pub(super) fn of_branch(file: &'a [u8], branch: &str) -> Self {
        let nodes = |graph: &'a [u8]| messages(graph, field::GRAPH_NODE);
        let attributes = |node: &'a [u8]| messages(node, field::NODE_ATTRIBUTE);
        let is_branch = |attribute: &&'a [u8]| {
            messages(attribute, field::ATTRIBUTE_NAME).next().is_some_and(|name| name == branch.as_bytes())
        };
        let by_name = messages(file, field::MODEL_GRAPH)
            .flat_map(nodes)
            .flat_map(attributes)
            .filter(is_branch)
            .flat_map(|attribute| messages(attribute, field::ATTRIBUTE_GRAPH))
            .flat_map(nodes)
            .flat_map(attributes)
            .flat_map(|attribute| messages(attribute, field::ATTRIBUTE_TENSOR))
            .filter_map(|tensor| {
                let name = messages(tensor, field::TENSOR_NAME).next()?;
                Some((name, (shape(tensor), messages(tensor, field::TENSOR_OCTETS).next()?)))
            })
            .collect();
        Self { by_name }
    }

    /// The numbers of a tensor, the last dimension running fastest.
    ///
    /// # Errors
    /// What is missing, in words.
    pub(super) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, String> {
        let wanted = || format!("it has no {name} of {shape:?} numbers");
        let (found, octets) = self.by_name.get(name.as_bytes()).ok_or_else(wanted)?;
        let same = found.iter().copied().eq(shape.iter().map(|&length| length as u64));
        let (numbers, rest) = octets.as_chunks::<4>();
        if !same || !rest.is_empty() || numbers.len() != shape.iter().product::<usize>() {
            return Err(wanted());
        }
        Ok(numbers.iter().map(|&number| f32::from_le_bytes(number)).collect())
    }
}

/// The lengths of a tensor's dimensions, written one by one or packed.
fn shape(tensor: &[u8]) -> Vec<u64> {
    let mut lengths = Vec::new();
    for (field, value) in Fields(tensor) {
        match value {
            Value::Number(length) if field == field::TENSOR_SHAPE => lengths.push(length),
            Value::Octets(mut packed) if field == field::TENSOR_SHAPE => {
                lengths.extend(std::iter::from_fn(|| varint(&mut packed)));
            }
            Value::Number(_) | Value::Octets(_) => {}
        }
    }
    lengths
}

/// The messages and strings that a message has in one of its fields.
fn messages(message: &[u8], wanted: u64) -> impl Iterator<Item = &[u8]> {
    Fields(message).filter_map(move |(field, value)| match value {
        Value::Octets(octets) if field == wanted => Some(octets),
        Value::Number(_) | Value::Octets(_) => None,
    })
}

enum Value<'a> {
    Number(u64),
    Octets(&'a [u8]),
}

/// The fields of a message in order. Ends at what is no protocol buffer.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let key = varint(&mut self.0)?;
        let length = match key & 7 {
            0 => return Some((key >> 3, Value::Number(varint(&mut self.0)?))),
            1 => 8,
            2 => usize::try_from(varint(&mut self.0)?).ok()?,
            5 => 4,
            _ => return None,
        };
        let (octets, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((key >> 3, Value::Octets(octets)))
    }
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (&octet, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(octet & 0x7F) << shift;
        if octet < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field that holds octets.
    fn field(number: u8, octets: &[u8]) -> Vec<u8> {
        assert!(octets.len() < 128);
        [&[number << 3 | 2, octets.len() as u8], octets].concat()
    }

    /// A model with a tensor of two by one numbers in each of two branches.
    fn model() -> Vec<u8> {
        let branch = |name: &str, first: f32| {
            let numbers = [first.to_le_bytes(), 2f32.to_le_bytes()].concat();
            let tensor = [&[1 << 3, 2, 1 << 3, 1][..], &field(8, b"weight"), &field(9, &numbers)].concat();
            let constant = field(5, &field(5, &tensor));
            field(5, &[field(1, name.as_bytes()), field(6, &field(1, &constant))].concat())
        };
        field(7, &field(1, &[branch("then", 16.0), branch("else", 8.0)].concat()))
    }

    #[test]
    fn a_tensor_is_found_in_its_branch() {
        let file = model();
        assert_eq!(Tensors::of_branch(&file, "else").get("weight", &[2, 1]), Ok(vec![8.0, 2.0]));
        assert_eq!(Tensors::of_branch(&file, "then").get("weight", &[2, 1]), Ok(vec![16.0, 2.0]));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let file = model();
        let tensors = Tensors::of_branch(&file, "else");
        for (name, shape) in [("weight", &[2][..]), ("weight", &[1, 2]), ("bias", &[2, 1])] {
            assert_eq!(tensors.get(name, shape), Err(format!("it has no {name} of {shape:?} numbers")));
        }
    }

    #[test]
    fn a_damaged_file_has_fewer_tensors_and_breaks_nothing() {
        let whole = model();
        for end in 0..whole.len() {
            assert!(Tensors::of_branch(&whole[..end], "else").get("weight", &[2, 1]).is_err());
        }
        for at in 0..whole.len() {
            let mut file = whole.clone();
            file[at] = 0xFF;
            drop(Tensors::of_branch(&file, "else").get("weight", &[2, 1]));
        }
    }
}
