//! Pages of lists, after the Relay connections specification.
//!
//! **Invariant:** no list gives more than [`MOST_ITEMS`] items at a time, and asking for more is refused, not cut, so
//! that a client never takes a part for the whole. A cursor holds sort value and id of its item and is good for the
//! list and order it came from only.

use std::borrow::Cow;

use async_graphql::{Object, OutputType, SimpleObject, TypeName};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use projections::views::{Cursor, Order, Page, PageRequest};

use crate::error::{Failure, Outcome};

/// Most items of a page.
pub const MOST_ITEMS: u32 = 100;
/// Items of a page when the caller does not say how many.
pub const USUAL_ITEMS: u32 = 20;

/// What a list costs: its page size times what each item costs.
pub(crate) fn cost(first: Option<i32>, last: Option<i32>, child: usize) -> usize {
    let asked = first.or(last).and_then(|count| usize::try_from(count).ok());
    // A page that is too large is refused by the resolver; until then it counts as it was asked for.
    child.saturating_mul(asked.unwrap_or(USUAL_ITEMS as usize)).saturating_add(1)
}

/// The paging arguments of a list.
#[derive(Debug, Default)]
pub(crate) struct Paging {
    pub(crate) first: Option<i32>,
    pub(crate) after: Option<String>,
    pub(crate) last: Option<i32>,
    pub(crate) before: Option<String>,
}

/// The page that is asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// To be read; when backwards, in the opposite order.
    pub(crate) request: PageRequest,
    backwards: bool,
    list: &'static str,
}

impl Paging {
    /// Reads the arguments for the list of this stable name, whose natural order is `order`.
    pub(crate) fn of(self, list: &'static str, order: Order) -> Outcome<Asked> {
        let backwards = self.last.is_some() || self.before.is_some();
        if backwards && (self.first.is_some() || self.after.is_some()) {
            return Err(Failure::bad_input("use first with after, or last with before"));
        }
        let (count, cursor) = if backwards { (self.last, self.before) } else { (self.first, self.after) };
        let limit = match count.map(u32::try_from) {
            None => USUAL_ITEMS,
            Some(Ok(count @ 1..=MOST_ITEMS)) => count,
            Some(_) => return Err(Failure::bad_input(format!("a page has 1 to {MOST_ITEMS} items"))),
        };
        let after = cursor.map(|text| decode(list, &text)).transpose()?;
        let order = match (order, backwards) {
            (order, false) => order,
            (Order::Ascending, true) => Order::Descending,
            (Order::Descending, true) => Order::Ascending,
        };
        Ok(Asked { request: PageRequest { after, limit, order }, backwards, list })
    }
}

impl Asked {
    /// The connection of what was read.
    pub(crate) fn connection<V, T>(&self, page: Page<V>, node: impl Fn(V) -> T) -> Connection<T> {
        let cursors = page.cursors.into_iter().map(|cursor| encode(self.list, cursor));
        let mut edges: Vec<Edge<T>> =
            page.items.into_iter().zip(cursors).map(|(item, cursor)| Edge { node: node(item), cursor }).collect();
        let came_from_inside = self.request.after.is_some();
        let (has_previous_page, has_next_page) = if self.backwards {
            edges.reverse();
            (page.more, came_from_inside)
        } else {
            (came_from_inside, page.more)
        };
        Connection { edges, has_previous_page, has_next_page, searched: None }
    }
}

impl<T> Connection<T> {
    fn info(&self) -> PageInfo {
        let (mut start_cursor, mut end_cursor) =
            (self.edges.first().map(|edge| edge.cursor.clone()), self.edges.last().map(|edge| edge.cursor.clone()));
        match &self.searched {
            Some(Searched::Forwards(cursor)) => end_cursor = Some(cursor.clone()),
            Some(Searched::Backwards(cursor)) => start_cursor = Some(cursor.clone()),
            None => {}
        }
        PageInfo {
            has_previous_page: self.has_previous_page,
            has_next_page: self.has_next_page,
            start_cursor,
            end_cursor,
        }
    }

    /// The same page, but the search for it ended behind its last item: there is more, to be asked for from there.
    pub(crate) fn searched_up_to(mut self, searched: Option<Cursor>, asked: &Asked) -> Self {
        if let Some(searched) = searched {
            let cursor = encode(asked.list, searched);
            self.searched =
                Some(if asked.backwards { Searched::Backwards(cursor) } else { Searched::Forwards(cursor) });
        }
        self
    }
}

fn encode(list: &str, cursor: Cursor) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}:{cursor}"))
}

fn decode(list: &str, text: &str) -> Outcome<Cursor> {
    let parse = || {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (of, cursor) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
        if of == list { cursor.parse().ok() } else { None }
    };
    parse().ok_or_else(|| Failure::bad_input("this is not a cursor of this list"))
}

/// One page of a list, with where each item stands.
pub(crate) struct Connection<T> {
    edges: Vec<Edge<T>>,
    has_previous_page: bool,
    has_next_page: bool,
    searched: Option<Searched>,
}

/// Where a search that found less than a page ended: the cursor to go on from.
enum Searched {
    Forwards(String),
    Backwards(String),
}

struct Edge<T> {
    node: T,
    cursor: String,
}

/// An item of a list with its place in it.
struct EdgeObject<'a, T>(&'a Edge<T>);

impl<T: OutputType> TypeName for Connection<T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Connection", T::type_name()).into()
    }
}

impl<T: OutputType> TypeName for EdgeObject<'_, T> {
    fn type_name() -> Cow<'static, str> {
        format!("{}Edge", T::type_name()).into()
    }
}

/// One page of a list.
#[Object(name_type)]
impl<T: OutputType> Connection<T> {
    /// The items with their cursors, in the order of the list.
    async fn edges(&self) -> Vec<EdgeObject<'_, T>> {
        self.edges.iter().map(EdgeObject).collect()
    }

    /// The items, in the order of the list.
    async fn nodes(&self) -> Vec<&T> {
        self.edges.iter().map(|edge| &edge.node).collect()
    }

    /// Where this page stands in the list.
    async fn page_info(&self) -> PageInfo {
        self.info()
    }
}

/// An item of a list with its place in it.
#[Object(name_type)]
impl<T: OutputType> EdgeObject<'_, T> {
    /// The item.
    async fn node(&self) -> &T {
        &self.0.node
    }

    /// Where the item stands: give it as `after` to go on behind it, as `before` to stop in front of it. Opaque.
    async fn cursor(&self) -> &str {
        &self.0.cursor
    }
}

/// Where a page stands in its list.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub(crate) struct PageInfo {
    /// True when there are items in front of the first. Known for sure when paging backwards; when paging forwards,
    /// true after the first page.
    has_previous_page: bool,
    /// True when there are items behind the last. Known for sure when paging forwards; when paging backwards, true
    /// after the first page.
    has_next_page: bool,
    /// The cursor of the first item; where a search ended that found less than a page, paging backwards.
    start_cursor: Option<String>,
    /// The cursor of the last item; where a search ended that found less than a page, paging forwards.
    end_cursor: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(values: &[i64], more: bool) -> Page<i64> {
        let cursor = |value: &i64| Cursor { value: *value, id: uuid::Uuid::nil() };
        Page { items: values.to_vec(), cursors: values.iter().map(cursor).collect(), more }
    }

    #[test]
    fn a_cursor_leads_on_from_its_item_and_only_in_its_own_list() {
        let asked = Paging { first: Some(2), ..Paging::default() }.of("things", Order::Ascending).unwrap();
        let connection = asked.connection(page(&[1, 2], true), |value| value);
        assert!(connection.has_next_page && !connection.has_previous_page);
        let after = Some(connection.edges[1].cursor.clone());
        let next = Paging { after: after.clone(), ..Paging::default() }.of("things", Order::Ascending).unwrap();
        assert_eq!(next.request.after.map(|cursor| cursor.value), Some(2));
        let other = Paging { after, ..Paging::default() }.of("others", Order::Ascending);
        assert_eq!(other.unwrap_err().code, crate::error::ErrorCode::BadUserInput);
    }

    #[test]
    fn a_search_that_ended_behind_its_page_leads_on_from_there() {
        let searched = Some(Cursor { value: 9, id: uuid::Uuid::nil() });
        for (paging, value) in [
            (
                Paging { first: Some(2), ..Paging::default() },
                (|info| info.end_cursor) as fn(PageInfo) -> Option<String>,
            ),
            (Paging { last: Some(2), ..Paging::default() }, |info| info.start_cursor),
        ] {
            let asked = paging.of("things", Order::Ascending).unwrap();
            let connection = asked.connection(page(&[], true), |value| value);
            let cursor = value(connection.searched_up_to(searched, &asked).info());
            assert_eq!(decode("things", &cursor.unwrap()).unwrap().value, 9);
        }
    }

    #[test]
    fn the_last_items_come_in_the_order_of_the_list() {
        let asked = Paging { last: Some(2), ..Paging::default() }.of("things", Order::Ascending).unwrap();
        assert_eq!(asked.request.order, Order::Descending);
        let connection = asked.connection(page(&[9, 8], true), |value| value);
        assert_eq!(connection.edges.iter().map(|edge| edge.node).collect::<Vec<_>>(), [8, 9]);
        assert!(connection.has_previous_page && !connection.has_next_page);
    }

    #[test]
    fn a_page_that_is_too_large_too_small_or_runs_both_ways_is_refused() {
        for (first, last) in
            [(Some(101), None), (Some(0), None), (Some(-1), None), (None, Some(101)), (Some(1), Some(1))]
        {
            assert!(Paging { first, last, ..Paging::default() }.of("things", Order::Ascending).is_err());
        }
        assert!(Paging { first: Some(100), ..Paging::default() }.of("things", Order::Ascending).is_ok());
    }

    #[test]
    fn a_list_costs_its_page_size_times_its_items() {
        assert_eq!(cost(Some(100), None, 7), 701);
        assert_eq!(cost(None, None, 7), 141);
        assert_eq!(cost(Some(i32::MAX), None, usize::MAX), usize::MAX);
    }
}
