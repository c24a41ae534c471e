//! How messages are read from the wire: a request is weighed before it is decoded.
//!
//! Two bytes of a message can be an empty part that takes hundreds of bytes as a value, so that a small call would cost
//! a server a thousand times its size. [`Codec`] walks over a request's tags first, without making anything of them, and
//! refuses one that would take more than [`COST_PER_BYTE`] times its size and [`COST_FREE_BYTES`]. It stands in front of
//! every service that is generated here. A message that is no protobuf is its sender's mistake, and is refused as such.

use std::{marker::PhantomData, mem::size_of};

use bytes::{Buf, Bytes};
use prost::{Message, Name};
use tonic::{
    Status,
    codec::{BufferSettings, DecodeBuf, Decoder},
};
use tonic_prost::{ProstCodec, ProstEncoder};

/// Bytes of memory that a request may take for each of its own, its own included.
pub const COST_PER_BYTE: usize = 8;

/// Bytes of memory that any request may take besides.
pub const COST_FREE_BYTES: usize = 1 << 20;

/// Messages within messages at most: prost's own limit is deeper.
const DEPTH_MAX: u32 = 32;

/// Fields of a message that are counted apart.
const FIELDS_MAX: usize = 64;

/// What a field holds.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A message of this shape.
    Message(usize),
    Text,
    Blob,
    /// Numbers that take so many bytes as values.
    Varint(usize),
    Fixed(usize),
}

#[derive(Debug)]
struct Field {
    number: u32,
    kind: Kind,
    repeated: bool,
}

/// What a message's values take, without what lies on the heap.
#[derive(Debug)]
struct Shape {
    size: usize,
    /// In the order of their numbers.
    fields: &'static [Field],
}

include!(concat!(env!("OUT_DIR"), "/shapes.rs"));

/// Why a request is refused before it is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Malformed,
    TooCostly,
}

/// What the rest of a request may cost.
struct Budget(usize);

impl Budget {
    fn spend(&mut self, bytes: usize) -> Result<(), Refused> {
        self.0 = self.0.checked_sub(bytes).ok_or(Refused::TooCostly)?;
        Ok(())
    }
}

/// A vector's room for so many elements: it doubles as it grows.
fn room(count: usize, size: usize) -> usize {
    if count == 0 { 0 } else { count.next_power_of_two().max(4).saturating_mul(size) }
}

/// Checks what a message costs before it is decoded.
fn weigh(shape: &Shape, bytes: &[u8]) -> Result<(), Refused> {
    let mut budget = Budget((COST_PER_BYTE - 1) * bytes.len() + COST_FREE_BYTES);
    budget.spend(shape.size)?;
    walk(shape, bytes, &mut budget, 0)
}

fn walk(shape: &Shape, mut bytes: &[u8], budget: &mut Budget, depth: u32) -> Result<(), Refused> {
    if depth > DEPTH_MAX {
        return Err(Refused::TooCostly);
    }
    let mut counts = [0_usize; FIELDS_MAX];
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let number = u32::try_from(tag >> 3).map_err(|_| Refused::Malformed)?;
        let found = shape.fields.binary_search_by_key(&number, |field| field.number).ok();
        let value = match tag & 7 {
            0 => {
                varint(&mut bytes)?;
                None
            }
            1 => take(&mut bytes, 8).map(|_| None)?,
            5 => take(&mut bytes, 4).map(|_| None)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).map_err(|_| Refused::Malformed)?;
                Some(take(&mut bytes, length)?)
            }
            // Groups are of an older protobuf.
            _ => return Err(Refused::Malformed),
        };
        // What is unknown is passed over.
        let Some(at) = found else { continue };
        let field = &shape.fields[at];
        let grown = match (field.kind, value) {
            (Kind::Message(child), Some(value)) => {
                walk(&SHAPES[child], value, budget, depth + 1)?;
                (1, SHAPES[child].size)
            }
            (Kind::Text, Some(value)) => {
                budget.spend(value.len())?;
                (1, size_of::<String>())
            }
            (Kind::Blob, Some(value)) => {
                budget.spend(value.len())?;
                (1, size_of::<Bytes>())
            }
            (Kind::Varint(size), Some(packed)) => (packed.iter().filter(|&&byte| byte < 0x80).count(), size),
            (Kind::Fixed(size), Some(packed)) => (packed.len() / size, size),
            (Kind::Varint(size) | Kind::Fixed(size), None) => (1, size),
            // Of another type than it should be: prost says so.
            (Kind::Message(_) | Kind::Text | Kind::Blob, None) => continue,
        };
        if field.repeated {
            let (count, size) = grown;
            let (before, after) = (room(counts[at], size), room(counts[at] + count, size));
            counts[at] += count;
            budget.spend(after - before)?;
        }
    }
    Ok(())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Refused> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Refused::Malformed)?;
    *bytes = rest;
    Ok(taken)
}

fn varint(bytes: &mut &[u8]) -> Result<u64, Refused> {
    let mut value = 0;
    for at in 0..10 {
        let (&byte, rest) = bytes.split_first().ok_or(Refused::Malformed)?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Refused::Malformed)
}

/// Reads and writes the messages of a call.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Name + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Weighed<U>;

    fn encoder(&mut self) -> ProstEncoder<T> {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::default())
    }

    fn decoder(&mut self) -> Weighed<U> {
        Weighed(PhantomData)
    }
}

/// Decodes messages, requests only if their size is worth what they cost.
#[derive(Debug)]
pub struct Weighed<U>(PhantomData<U>);

impl<U: Message + Default + Name> Decoder for Weighed<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        decode(buffer).map(Some)
    }
}

/// Reads a message, which is all of the buffer and lies there in one piece. A request is weighed before.
///
/// # Errors
/// `INVALID_ARGUMENT` for a request that is no message of its kind, or not worth what it costs; `INTERNAL` for a reply
/// that cannot be read.
pub fn decode<U: Message + Default + Name>(buffer: impl Buf) -> Result<U, Status> {
    let request = request_shape(U::NAME);
    if let Some(shape) = request {
        let bytes = buffer.chunk();
        let is_whole = bytes.len() == buffer.remaining();
        let checked = if is_whole { weigh(&SHAPES[shape], bytes) } else { Err(Refused::Malformed) };
        checked.map_err(|refused| Status::invalid_argument(reason(refused, U::NAME)))?;
    }
    U::decode(buffer).map_err(|error| match request {
        Some(_) => Status::invalid_argument(format!("the message is no {}: {error}", U::NAME)),
        None => Status::internal(error.to_string()),
    })
}

fn reason(refused: Refused, name: &str) -> String {
    match refused {
        Refused::Malformed => format!("the message is no {name}: it is no protobuf"),
        Refused::TooCostly => format!(
            "the {name} has more parts than its size is worth: it would take more than {COST_PER_BYTE} times its \
             bytes and {} MiB of memory; send fewer at a time",
            COST_FREE_BYTES >> 20
        ),
    }
}
