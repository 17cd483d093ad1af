//! Weights in huge pages of memory.
//!
//! Decoding reads every weight for every token, as fast as the memory delivers; with pages of 4 KiB the processor looks up an
//! address for each of them, and reads ahead only to their ends.

use burn::tensor::TensorData;

/// In what pages of memory the weights of a module lie, where their device is flex's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Those of other memory.
    Usual,
    /// Huge ones where Linux has them, for weights that only inference reads: what writes to them copies them first.
    Huge,
}

/// Memory in huge pages, in which tensors follow each other.
#[derive(Default)]
pub(super) struct HugePages {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    room: bytes::BytesMut,
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
impl HugePages {
    /// The same data.
    pub(super) fn place(&mut self, data: TensorData) -> TensorData {
        data
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linux {
    use burn::tensor::{AllocationProperty, Bytes};
    use bytes::BytesMut;

    use super::*;

    /// The bytes of a huge page.
    pub(super) const PAGE: usize = 1 << 21;
    /// What is asked of the system at once. What is not written to takes no memory.
    const ROOM: usize = 32 * PAGE;
    /// Tensors begin with a line of the cache.
    const LINE: usize = 64;

    impl HugePages {
        /// The same data, behind that of the tensor before.
        pub(in crate::weights) fn place(&mut self, data: TensorData) -> TensorData {
            let values = data.as_bytes();
            let padding = self.room.spare_capacity_mut().as_ptr().align_offset(LINE);
            if self.room.capacity() < padding + values.len() {
                self.room = room(ROOM.max(values.len()));
                return self.place(data);
            }
            self.room.resize(padding, 0);
            let _ = self.room.split();
            self.room.extend_from_slice(values);
            let placed = self.room.split().freeze();
            let (_, shape, dtype) = data.into_parts();
            TensorData::from_bytes(Bytes::from_shared(placed, AllocationProperty::Native), shape, dtype)
        }
    }

    /// Empty memory for so many bytes, which begins with a huge page where the system has them.
    fn room(len: usize) -> BytesMut {
        let len = len.next_multiple_of(PAGE);
        let mut room = BytesMut::with_capacity(len + PAGE);
        let before = room.spare_capacity_mut().as_ptr().align_offset(PAGE);
        room.resize(before, 0);
        let _ = room.split();
        #[allow(unsafe_code)]
        // SAFETY: the range is memory of this buffer, and advice changes nothing of what it holds; the system may refuse it.
        unsafe {
            libc::madvise(room.spare_capacity_mut().as_mut_ptr().cast(), len, libc::MADV_HUGEPAGE);
        }
        room
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::linux::PAGE;
    use super::*;

    /// Of all lengths and types, in one buffer, in the next, and larger than a buffer, whether the system has huge pages or not.
    #[test]
    fn data_stays_what_it_is() {
        let mut pages = HugePages::default();
        let lengths = [0, 1, 3, PAGE / 4 - 1, PAGE / 4, 5 * PAGE + 17, 20 * PAGE, 1, 15, 5];
        let placed: Vec<(TensorData, TensorData)> = lengths
            .into_iter()
            .map(|len| {
                let data = TensorData::new((0..len).map(|at| at as f32).collect::<Vec<_>>(), [1, len]);
                (pages.place(data.clone()), data)
            })
            .collect();
        let other = TensorData::new(vec![3u8; 7], [7]);
        assert_eq!(pages.place(other.clone()), other);
        for (placed, data) in placed {
            assert_eq!(placed, data);
            assert_eq!(placed.as_bytes().as_ptr().align_offset(64), 0);
            assert_eq!(placed.as_slice::<f32>().unwrap(), data.as_slice::<f32>().unwrap());
        }
    }

    /// An optimizer may get such weights all the same, and each has others behind it.
    #[test]
    #[cfg(feature = "flex")]
    fn what_is_written_is_written_to_a_copy() {
        use burn::tensor::{Device, Tensor};

        let (mut pages, device) = (HugePages::default(), Device::flex());
        let mut tensor =
            || Tensor::<1>::from_data(pages.place(TensorData::new(vec![1f32; 1000], [1000])), &device);
        let (first, second) = (tensor(), tensor());
        let shared = first.clone();
        let written = first.slice_assign(0..1, Tensor::from_data([5.0], &device)) * 2.0;
        assert_eq!(written.clone().narrow(0, 0, 2).into_data(), TensorData::from([10f32, 2.0]));
        assert_eq!([shared, second].map(|tensor| tensor.sum().into_scalar::<f32>()), [1000.0; 2]);
    }
}
