use std::pin::pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use http_body_util::BodyExt;

use super::{Keeper, Kept, Replay, TURN_BYTES};
use crate::gateway::http::body_memory::Room;
use crate::gateway::http::send_state::Progress;

fn room() -> Room {
    Room { bodies: Default::default(), limit: u64::MAX }
}

async fn keep(memory_bytes: u64, pieces: &[&[u8]]) -> std::io::Result<Kept> {
    let folder = std::env::temp_dir();
    let room = room();
    let mut keeper = Keeper::new(memory_bytes, &folder, &room);
    for piece in pieces {
        keeper.push(Bytes::copy_from_slice(piece)).await?;
    }
    keeper.finish().await
}

async fn replayed(kept: &Kept) -> Bytes {
    Replay::new(kept.clone(), Progress::default()).collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_body_can_be_sent_twice_wherever_it_is_kept() {
    let large = vec![7_u8; 700_000];
    let pieces: [&[u8]; 3] = [b"head", &large, b"tail"];
    let whole = pieces.concat();
    for memory_bytes in [0, 4, 1 << 20] {
        let kept = keep(memory_bytes, &pieces).await.unwrap();
        assert_eq!(kept.len(), whole.len() as u64);
        assert_eq!(matches!(kept, Kept::Spooled { .. }), memory_bytes < 1 << 20);
        for _ in 0..2 {
            assert_eq!(replayed(&kept).await, whole);
        }
    }
}

#[tokio::test]
async fn others_have_their_turn_while_a_large_body_comes_and_goes() {
    let bytes: Vec<u8> = (0..600_000_u32).map(|n| (n % 251) as u8).collect();
    let (folder, room) = (std::env::temp_dir(), room());
    let mut keeper = Keeper::new(1 << 20, &folder, &room);
    let mut context = Context::from_waker(Waker::noop());
    let (small, large) = (Bytes::from_static(b"small"), Bytes::from(bytes.clone()));
    assert!(pin!(keeper.push(small)).poll(&mut context).is_ready());
    assert!(pin!(keeper.push(large.clone())).poll(&mut context).is_pending());

    let three = keep(1 << 20, &[b"head", &bytes, b"tail"]).await.unwrap();
    let whole = [&b"head"[..], &bytes, b"tail"].concat();
    for (kept, whole) in [(Kept::Piece(large), bytes), (three, whole)] {
        let mut replay = Replay::new(kept, Progress::default());
        let mut sent = Vec::new();
        while let Some(frame) = replay.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= TURN_BYTES);
            sent.extend_from_slice(&data);
        }
        assert!(sent == whole, "{} of {} bytes", sent.len(), whole.len());
    }
}

#[tokio::test]
async fn a_body_in_many_small_pieces_is_gathered_in_order() {
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let pieces: Vec<&[u8]> = bytes.chunks(7).collect();
    let kept = keep(1 << 20, &pieces).await.unwrap();
    assert!(matches!(&kept, Kept::Memory { pieces, .. } if pieces.len() == 3), "{kept:?}");
    assert_eq!(replayed(&kept).await, bytes);
}

#[tokio::test]
async fn a_place_in_a_body_is_overwritten_wherever_it_is_kept() {
    let large = vec![b'-'; 300_000];
    let pieces: [&[u8]; 4] = [&large, b"ab", &large, b"tail"];
    for (memory_bytes, pieces) in [(0, &pieces[..]), (1 << 20, &pieces), (1 << 20, &[&large])] {
        let mut whole = pieces.concat();
        let place = 299_990..300_000.min(whole.len());
        let kept = keep(memory_bytes, pieces).await.unwrap();
        let range = place.start as u64..place.end as u64;
        let changed = kept.overwritten(range, b"0123456789".to_vec()).await.unwrap();
        whole[place].copy_from_slice(b"0123456789");
        assert_eq!(replayed(&changed).await, whole);
    }
    let across = keep(1 << 20, &[&large, &large]).await.unwrap();
    let across = across.overwritten(299_999..300_001, b"xy".to_vec()).await.unwrap();
    assert_eq!(&replayed(&across).await[299_998..300_002], b"-xy-");
}

#[tokio::test]
async fn a_part_of_a_body_gives_way_to_more_or_less_wherever_it_is_kept() {
    let large = vec![b'-'; 150_000];
    let pieces: [&[u8]; 4] = [&large, b"alice", &large, b"tail"];
    let whole = pieces.concat();
    for memory_bytes in [0, 1 << 20] {
        for (place, with) in [
            (150_000..150_005, &b"ka:alice"[..]),
            (149_990..150_020, b"x"),
            (0..0, b"first"),
            (300_008..300_009, b""),
            (200_000..200_000, b"put in"),
        ] {
            let kept = keep(memory_bytes, &pieces).await.unwrap();
            let range = place.start as u64..place.end as u64;
            let spliced = kept.spliced(range, with);
            let expected = [&whole[..place.start], with, &whole[place.end..]].concat();
            assert_eq!(spliced.len(), expected.len() as u64);
            for _ in 0..2 {
                assert_eq!(replayed(&spliced).await, expected, "{place:?}");
            }
            let later = 300_000_u64 + with.len() as u64 - place.len() as u64;
            let changed = spliced.overwritten(later..later + 2, b"!!".to_vec()).await.unwrap();
            let mut expected = expected;
            expected[later as usize..later as usize + 2].copy_from_slice(b"!!");
            assert_eq!(replayed(&changed).await, expected);
            assert_eq!(changed.into_bytes(&mut room().hold()).unwrap(), expected);
        }
    }
    let small = keep(1 << 20, &[b"{", b"}"]).await.unwrap().spliced(1..1, b"x");
    assert!(matches!(small, Kept::Piece(piece) if piece == "{x}"));
}

#[tokio::test]
async fn nothing_and_one_piece_need_no_spool() {
    let none = keep(0, &[b""]).await.unwrap();
    assert!(none.is_empty() && replayed(&none).await.is_empty());
    assert!(matches!(keep(9, &[b"one"]).await.unwrap(), Kept::Piece(piece) if piece == "one"));
}

#[tokio::test]
async fn a_spool_folder_that_is_missing_is_an_error() {
    let folder = std::path::Path::new("/nonexistent/spool");
    let room = room();
    let mut keeper = Keeper::new(0, folder, &room);
    assert!(keeper.push(Bytes::from_static(b"x")).await.is_err());
}

#[tokio::test]
async fn what_is_in_memory_is_counted_until_the_last_of_it_is_gone() {
    let (folder, piece) = (std::env::temp_dir(), Bytes::from(vec![7; 20_000]));
    let room = Room { bodies: Default::default(), limit: 50_000 };
    let held = || room.bodies.held_bytes();
    let mut keeper = Keeper::new(1 << 20, &folder, &room);
    keeper.push(piece.clone()).await.unwrap();
    keeper.push(piece.clone()).await.unwrap();
    let kept = keeper.finish().await.unwrap();
    let again = kept.clone();
    drop(kept);
    assert_eq!(held(), 40_000);
    let mut other = Keeper::new(1 << 20, &folder, &room);
    let full = other.push(piece.clone()).await.unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::QuotaExceeded);
    drop((again, other));
    assert_eq!(held(), 0);
    // What has gone to the spool is held no more, until it is read.
    let mut spooled = Keeper::new(30_000, &folder, &room);
    spooled.push(piece.clone()).await.unwrap();
    spooled.push(piece).await.unwrap();
    assert_eq!(held(), 0);
    let kept = spooled.finish().await.unwrap();
    let mut whole = room.hold();
    assert_eq!(kept.into_bytes(&mut whole).unwrap().len(), 40_000);
    assert_eq!(held(), 40_000);
}
