//! Messages that are longer than a message of the stream may be: cut into pieces, and put together again.
//!
//! Only snapshots are. The pieces of one come in order, between other messages, and each names the length and the
//! checksum of the whole. Whoever puts them together holds no more than has come, for no longer than some time, and the
//! streams of a member share the room. What is lost is begun anew: raft sends the snapshot again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use shoal_common::rpc::MESSAGE_BYTES_MAX;
use shoal_core::hash::checksum_bytes;
use shoal_proto::v1::MessagePiece;
use tokio::time::Instant;

/// A message of so many bytes still goes in one piece: releases before know no other way.
pub const WHOLE_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 4;

/// Bytes of a piece: heartbeats go between two of them.
const PIECE_BYTES: usize = 1024 * 1024;

/// Bytes of a message that is cut.
pub(super) const CUT_BYTES_MAX: usize = 512 * 1024 * 1024;

/// How long the next piece may take to come, and all of them.
const NEXT_MAX: Duration = Duration::from_secs(20);
const ALL_MAX: Duration = Duration::from_secs(600);

/// The pieces of one message, in order.
#[derive(Debug)]
pub(super) struct Pieces {
    whole: Bytes,
    checksum: Bytes,
    offset: usize,
    piece_bytes: usize,
}

impl Pieces {
    /// Of a message, each of at most so many bytes.
    pub(super) fn of(whole: Bytes, piece_bytes_max: usize) -> Self {
        let checksum = Bytes::copy_from_slice(&checksum_bytes(&whole));
        Self { whole, checksum, offset: 0, piece_bytes: piece_bytes_max.clamp(1, PIECE_BYTES) }
    }

    /// Whether this is all that is left.
    pub(super) fn is_done(&self) -> bool {
        self.offset == self.whole.len()
    }
}

impl Iterator for Pieces {
    type Item = MessagePiece;

    fn next(&mut self) -> Option<MessagePiece> {
        let offset = self.offset;
        if self.is_done() {
            return None;
        }
        self.offset = (offset + self.piece_bytes).min(self.whole.len());
        Some(MessagePiece {
            checksum: self.checksum.clone(),
            length_bytes: self.whole.len() as u64,
            offset: offset as u64,
            bytes: self.whole.slice(offset..self.offset),
        })
    }
}

/// Why a piece is not taken. What had come of its message is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PieceError {
    #[error("a message of {0} bytes is longer than the {CUT_BYTES_MAX} that are put together")]
    Length(u64),
    #[error("a piece of {0} bytes is none that a member sends")]
    Size(usize),
    #[error("the piece does not follow the one before")]
    Order,
    #[error("the message is not the one that was sent")]
    Checksum,
    #[error("the streams of other members have taken the room")]
    Room,
}

/// What all streams of a member hold of messages that are not whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Room(Arc<AtomicUsize>);

impl Room {
    /// Takes room for so many bytes more, if there is.
    fn take(&self, bytes: usize) -> bool {
        let before = self.0.fetch_add(bytes, Ordering::SeqCst);
        let fits = before + bytes <= CUT_BYTES_MAX;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::SeqCst);
    }
}

/// Puts the messages of one stream together.
#[derive(Debug)]
pub(super) struct Assembly {
    room: Room,
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    checksum: Bytes,
    length: usize,
    bytes: Vec<u8>,
    at: Instant,
    last_at: Instant,
}

impl Assembly {
    pub(super) fn new(room: Room) -> Self {
        Self { room, begun: None }
    }

    /// When what has come so far is given up, unless more comes.
    pub(super) fn until(&self) -> Option<Instant> {
        self.begun.as_ref().map(|begun| (begun.at + ALL_MAX).min(begun.last_at + NEXT_MAX))
    }

    /// Gives up what has come so far.
    pub(super) fn give_up(&mut self) {
        if let Some(begun) = self.begun.take() {
            self.room.give_back(begun.bytes.len());
        }
    }

    /// Takes a piece; the message once it is whole. A first piece begins anew.
    pub(super) fn take(&mut self, piece: &MessagePiece) -> Result<Option<Bytes>, PieceError> {
        let taken = self.take_checked(piece);
        if !matches!(taken, Ok(None)) {
            self.give_up();
        }
        taken
    }

    fn take_checked(&mut self, piece: &MessagePiece) -> Result<Option<Bytes>, PieceError> {
        let length = usize::try_from(piece.length_bytes).unwrap_or(usize::MAX);
        if length > CUT_BYTES_MAX {
            return Err(PieceError::Length(piece.length_bytes));
        }
        let size = piece.bytes.len();
        if size == 0 || size > PIECE_BYTES {
            return Err(PieceError::Size(size));
        }
        let now = Instant::now();
        if piece.offset == 0 {
            self.give_up();
            let (checksum, bytes) = (piece.checksum.clone(), Vec::new());
            self.begun = Some(Begun { checksum, length, bytes, at: now, last_at: now });
        }
        let Some(begun) = &mut self.begun else { return Err(PieceError::Order) };
        let follows = piece.offset == begun.bytes.len() as u64
            && piece.checksum == begun.checksum
            && length == begun.length
            && size <= length - begun.bytes.len();
        if !follows {
            return Err(PieceError::Order);
        }
        if !self.room.take(size) {
            return Err(PieceError::Room);
        }
        begun.bytes.extend_from_slice(&piece.bytes);
        begun.last_at = now;
        if begun.bytes.len() < begun.length {
            return Ok(None);
        }
        if checksum_bytes(&begun.bytes)[..] != begun.checksum[..] {
            return Err(PieceError::Checksum);
        }
        // What is handed on is no longer counted here, but by whoever takes it.
        let bytes = std::mem::take(&mut begun.bytes);
        self.room.give_back(bytes.len());
        Ok(Some(bytes.into()))
    }
}

impl Drop for Assembly {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(length: usize) -> Bytes {
        (0..length).map(|place| (place % 251) as u8).collect()
    }

    fn put_together(pieces: impl IntoIterator<Item = MessagePiece>) -> Result<Option<Bytes>, PieceError> {
        let mut assembly = Assembly::new(Room::default());
        let mut last = Ok(None);
        for piece in pieces {
            last = assembly.take(&piece);
            last.clone()?;
        }
        last
    }

    #[test]
    fn what_was_cut_is_put_together_again() {
        for length in [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let pieces: Vec<MessagePiece> = Pieces::of(message(length), usize::MAX).collect();
            assert_eq!(pieces.len(), length.div_ceil(PIECE_BYTES));
            assert_eq!(put_together(pieces), Ok(Some(message(length))));
        }
    }

    #[test]
    fn a_piece_that_is_none_gives_up_what_had_come_and_its_room() {
        let pieces: Vec<MessagePiece> = Pieces::of(message(3 * PIECE_BYTES), usize::MAX).collect();
        let changed = |change: fn(&mut MessagePiece)| {
            let mut piece = pieces[1].clone();
            change(&mut piece);
            piece
        };
        let cases = [
            (pieces[2].clone(), PieceError::Order),
            (changed(|piece| piece.checksum = vec![7; 16].into()), PieceError::Order),
            (changed(|piece| piece.length_bytes += 1), PieceError::Order),
            (changed(|piece| piece.length_bytes = u64::MAX), PieceError::Length(u64::MAX)),
            (changed(|piece| piece.bytes = Bytes::new()), PieceError::Size(0)),
            (changed(|piece| piece.bytes = message(PIECE_BYTES + 1)), PieceError::Size(PIECE_BYTES + 1)),
        ];
        let room = Room::default();
        for (wrong, expected) in cases {
            let mut assembly = Assembly::new(room.clone());
            assert_eq!(assembly.take(&pieces[0]), Ok(None));
            assert!(assembly.until().is_some());
            assert_eq!(assembly.take(&wrong), Err(expected));
            assert_eq!((assembly.until(), room.0.load(Ordering::SeqCst)), (None, 0));
            // From the beginning it goes on.
            let taken: Vec<_> = pieces.iter().map(|piece| assembly.take(piece)).collect();
            assert_eq!(taken[2], Ok(Some(message(3 * PIECE_BYTES))));
            assert_eq!(room.0.load(Ordering::SeqCst), 0);
        }
        let mut flipped = pieces.clone();
        flipped[1].bytes = flipped[1].bytes.iter().map(|byte| byte ^ 1).collect();
        assert_eq!(put_together(flipped), Err(PieceError::Checksum));
    }

    #[test]
    fn streams_share_the_room_and_give_it_back() {
        let room = Room::default();
        assert!(room.take(CUT_BYTES_MAX - 1));
        let piece = Pieces::of(message(2), usize::MAX).next().unwrap();
        let mut assembly = Assembly::new(room.clone());
        assert_eq!(assembly.take(&piece), Err(PieceError::Room));
        room.give_back(CUT_BYTES_MAX - 1);
        assert_eq!(assembly.take(&piece), Ok(Some(message(2))));
        let half = Pieces::of(message(2 * PIECE_BYTES), usize::MAX).next().unwrap();
        assert_eq!(assembly.take(&half), Ok(None));
        assert_eq!(room.0.load(Ordering::SeqCst), PIECE_BYTES);
        drop(assembly);
        assert_eq!(room.0.load(Ordering::SeqCst), 0);
    }

    proptest! {
        #[test]
        fn any_pieces_take_no_more_room_than_has_come(
            pieces in prop::collection::vec((0_u64..6, 0_u64..6, 0_usize..4), 0..60),
        ) {
            let (room, mut assembly, mut came) = (Room::default(), Assembly::new(Room::default()), 0);
            assembly.room = room.clone();
            for (offset, length_bytes, size) in pieces {
                let bytes = message(size);
                came += size;
                let checksum = Bytes::copy_from_slice(&checksum_bytes(&message(length_bytes as usize)));
                let piece = MessagePiece { checksum, length_bytes, offset, bytes };
                if let Ok(Some(whole)) = assembly.take(&piece) {
                    prop_assert_eq!(whole, message(length_bytes as usize));
                }
                prop_assert!(room.0.load(Ordering::SeqCst) <= came.min(6));
            }
            drop(assembly);
            prop_assert_eq!(room.0.load(Ordering::SeqCst), 0);
        }
    }
}
