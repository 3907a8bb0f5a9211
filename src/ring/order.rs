//! Ring sizes: orders, the valid pairs, and how servers choose them.

use super::corrupt::{Corrupt, Field};

/// log2 of a ring's size in bytes: 10 to 20.
///
/// Orders 10 and 11 lie in the shared page itself, larger rings have pages of their own.
///
/// ```
/// use vchan::ring::Order;
/// let order = Order::new(16).unwrap();
/// assert_eq!((order.size(), order.pages()), (65536, 16));
/// assert_eq!(Order::new(21), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order(u8);

impl Order {
    /// 1 KiB, in the shared page.
    pub const MIN: Order = Order(10);
    /// 1 MiB.
    pub const MAX: Order = Order(20);

    /// The order `value`, if it is in range.
    pub fn new(value: u32) -> Option<Order> {
        (10..=20).contains(&value).then_some(Order(value as u8))
    }

    /// A ring smaller than any real one, for models.
    #[cfg(model)]
    pub(crate) fn small(value: u8) -> Order {
        Order(value)
    }

    /// log2 of the size.
    pub fn get(self) -> u32 {
        u32::from(self.0)
    }

    /// The ring's size in bytes.
    pub fn size(self) -> u32 {
        1 << self.0
    }

    /// The number of the ring's own pages. 0 if it lies in the shared page.
    pub fn pages(self) -> usize {
        if self.0 < 12 {
            0
        } else {
            1 << (self.0 - 12)
        }
    }

    /// The offset in the shared page, if the ring lies there.
    pub(crate) fn offset_in_page(self) -> Option<usize> {
        match self.0 {
            10 => Some(1024),
            11 => Some(2048),
            _ => None,
        }
    }

    /// The smallest order whose ring holds `bytes`, beginning with `first`.
    fn holding(bytes: usize, first: u8) -> Option<Order> {
        (first..=20).map(Order).find(|order| order.size() as usize >= bytes)
    }
}

/// The orders of both rings of a channel. The pair is valid.
///
/// ```
/// use vchan::ring::{Order, Orders};
/// assert!(Orders::new(Order::MIN, Order::MAX).is_some());
/// assert!(Orders::new(Order::MIN, Order::MIN).is_none());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orders {
    left: Order,
    right: Order,
}

impl Orders {
    /// A pair of orders. The page has room for one ring of each in-page order, so two equal ones below 12 give `None`.
    pub fn new(left: Order, right: Order) -> Option<Orders> {
        (left != right || left.pages() > 0).then_some(Orders { left, right })
    }

    /// Rings for a model.
    #[cfg(model)]
    pub(crate) fn small(left: u8, right: u8) -> Orders {
        Orders { left: Order::small(left), right: Order::small(right) }
    }

    /// Client to server.
    pub fn left(self) -> Order {
        self.left
    }

    /// Server to client.
    pub fn right(self) -> Order {
        self.right
    }

    /// Checks the values that a server published. Both are copies. The page is not read again.
    pub(crate) fn check(left: u16, right: u16) -> Result<Orders, Corrupt> {
        let order =
            |field, value: u16| Order::new(value.into()).ok_or(Corrupt { field, value: value.into() });
        let (left, right) = (order(Field::LeftOrder, left)?, order(Field::RightOrder, right)?);
        Orders::new(left, right).ok_or(Corrupt { field: Field::RightOrder, value: right.get() })
    }
}

/// How a server chooses orders for the requested sizes. A client accepts every choice.
///
/// ```
/// use vchan::{ring::OrderTable, transport::in_process::InProcess, Listener};
/// # fn main() -> vchan::Result<()> {
/// let machine = InProcess::new();
/// let builder = Listener::builder(1, "x").transport(machine.domain(0)).buffer_size(2 << 20);
/// assert!(builder.bind().is_err());
/// let listener = builder.order_table(OrderTable::Ocaml).bind()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OrderTable {
    /// As Xen's libxenvchan: more than 1 MiB is refused.
    #[default]
    Xen,
    /// As ocaml-vchan: more than 1 MiB becomes 1 MiB.
    Ocaml,
}

impl OrderTable {
    /// The orders for a server with a ring of at least `read` bytes to read from and one of at least `write` bytes to
    /// write into. `None` if the table refuses.
    ///
    /// ```
    /// use vchan::ring::OrderTable;
    /// let orders = OrderTable::Xen.orders(1024, 65536).unwrap();
    /// assert_eq!((orders.left().get(), orders.right().get()), (11, 16));
    /// ```
    pub fn orders(self, read: usize, write: usize) -> Option<Orders> {
        let (left, right) = match self {
            OrderTable::Xen => xen(read, write)?,
            OrderTable::Ocaml => ocaml(read, write),
        };
        Orders::new(left, right)
    }
}

fn xen(read: usize, write: usize) -> Option<(Order, Order)> {
    let external = |bytes| Order::holding(bytes, 12);
    Some(match (read, write) {
        (..=1024, ..=2048) => (Order(10), Order(11)),
        (..=2048, ..=1024) => (Order(11), Order(10)),
        (..=2048, _) => (Order(11), external(write)?),
        (_, ..=2048) => (external(read)?, Order(11)),
        _ => (external(read)?, external(write)?),
    })
}

fn ocaml(read: usize, write: usize) -> (Order, Order) {
    let any = |bytes| Order::holding(bytes, 10).unwrap_or(Order::MAX);
    match (any(read), any(write)) {
        (Order(10), Order(10)) => (Order(10), Order(11)),
        (Order(11), Order(11)) => (Order(10), Order(12)),
        pair => pair,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(table: OrderTable, read: usize, write: usize) -> Option<(u32, u32)> {
        table.orders(read, write).map(|o| (o.left().get(), o.right().get()))
    }

    #[test]
    fn xens_table() {
        let xen = |read, write| pair(OrderTable::Xen, read, write);
        assert_eq!(xen(0, 0), Some((10, 11)));
        assert_eq!(xen(1024, 2048), Some((10, 11)));
        assert_eq!(xen(2048, 1024), Some((11, 10)));
        assert_eq!(xen(1025, 1025), Some((11, 12)));
        assert_eq!(xen(2048, 2048), Some((11, 12)));
        assert_eq!(xen(1, 65536), Some((11, 16)));
        assert_eq!(xen(65536, 2048), Some((16, 11)));
        assert_eq!(xen(2049, 2049), Some((12, 12)));
        assert_eq!(xen(4097, 1 << 20), Some((13, 20)));
        assert_eq!(xen((1 << 20) + 1, 1), None);
        assert_eq!(xen(1, usize::MAX), None);
    }

    #[test]
    fn ocamls_table() {
        let ocaml = |read, write| pair(OrderTable::Ocaml, read, write);
        assert_eq!(ocaml(1024, 1024), Some((10, 11)));
        assert_eq!(ocaml(2048, 2048), Some((10, 12)));
        assert_eq!(ocaml(2049, 2049), Some((12, 12)));
        assert_eq!(ocaml(65536, 65536), Some((16, 16)));
        assert_eq!(ocaml(1024, 2048), Some((10, 11)));
        assert_eq!(ocaml(usize::MAX, 1 << 21), Some((20, 20)));
    }

    #[test]
    fn every_choice_is_acceptable_to_a_client() {
        for table in [OrderTable::Xen, OrderTable::Ocaml] {
            for read in (0..21).map(|n| 1usize << n) {
                for write in (0..21).map(|n| 1usize << n) {
                    let orders = table.orders(read, write).unwrap();
                    let (left, right) = (orders.left(), orders.right());
                    assert_eq!(Orders::check(left.get() as u16, right.get() as u16), Ok(orders));
                    assert!(right.size() as usize >= write);
                    // The OCaml table shrinks the left of two rings of 2 KiB.
                    let shrunk = table == OrderTable::Ocaml && left.get() == 10 && right.get() == 12;
                    assert!(left.size() as usize >= read || shrunk);
                }
            }
        }
    }

    #[test]
    fn impossible_orders_are_named() {
        let bad = |left, right| Orders::check(left, right).unwrap_err();
        assert_eq!(bad(9, 12), Corrupt { field: Field::LeftOrder, value: 9 });
        assert_eq!(bad(12, 21), Corrupt { field: Field::RightOrder, value: 21 });
        assert_eq!(bad(11, 11), Corrupt { field: Field::RightOrder, value: 11 });
        assert_eq!(bad(u16::MAX, 10), Corrupt { field: Field::LeftOrder, value: 65535 });
        assert!(Orders::check(10, 11).is_ok() && Orders::check(12, 12).is_ok());
    }
}
