"""Names that are mistaken for each other."""

# Each group is used both for methods and for functions.
CONFUSED = tuple(
    frozenset(group.split())
    for group in """
    append extend insert add, add discard remove update, pop popleft popitem get, append appendleft, keys values
    items, get pop setdefault, strip lstrip rstrip, lower upper title capitalize casefold, find index rfind rindex
    count, startswith endswith, split rsplit splitlines partition, partition rpartition, min max, any all, sorted
    reversed list, sort reverse, int float str bool, list tuple set dict, len sum max, floor ceil round int,
    isinstance issubclass, hasattr getattr, abs int, isdigit isalpha isalnum isnumeric isdecimal, isupper islower,
    union intersection difference, issubset issuperset, read readline readlines, write writelines, exists isfile
    isdir, dirname basename, encode decode, match search fullmatch, findall finditer search, sub subn, ljust rjust
    center, join format, zip enumerate map, filter map, put get, acquire release, start join, sin cos tan, exp log
    sqrt, argmin argmax, argsort sort, mean median sum, zeros ones empty, hstack vstack, floor round, prefix suffix,
    first last, left right, start end stop, min_value max_value, head tail, width height, row col column, rows
    columns cols, x y z, i j k, lo hi, low high, src dst, source target, old new, key value, before after, prev
    next, parent child children, name names, item items, node nodes, line lines, index idx i, begin end, lower
    upper, input output, in_ out, a b c, type name, self cls, copy deepcopy, items iteritems, send recv, open close,
    set clear, is_set set, total_seconds seconds, days seconds, repr str, next iter, range len, divmod pow, chr ord,
    dumps loads, dump load, warning error info debug
    """.split(",")
)


MISTAKEN = {
    name: tuple(sorted({other for group in CONFUSED if name in group for other in group} - {name}))
    for name in frozenset().union(*CONFUSED)
}


def confusions(name: str) -> tuple[str, ...]:
    """Names that this one is known to be mistaken for."""
    return MISTAKEN.get(name, ())
