"""Tables in each version: statistics, features, table-mod, table descriptions and table-status."""
from __future__ import annotations

from typing import Any

from vswitch.openflow import messages as ofp
from vswitch.openflow.layout import Layout, Many, One, Properties, bad_property_length
from vswitch.openflow.versions import OF10, OF11, OF12, OF13, OF14, OF15

# -- statistics: 1.0 (5.3.5), 1.1 (A.3.5.4), 1.2 (A.3.5.4), 1.3 and later
TABLE_STATS10 = Layout("TableStats10", "B table_id, 3x, 32z name, I wildcards, I max_entries, I active_count, Q lookup_count,"
                       " Q matched_count")
TABLE_STATS11 = Layout("TableStats11", "B table_id, 7x, 32z name, I wildcards, I match, I instructions, I write_actions,"
                       " I apply_actions, I config, I max_entries, I active_count, Q lookup_count, Q matched_count")
TABLE_STATS12 = Layout("TableStats12", "B table_id, 7x, 32z name, Q match, Q wildcards, I write_actions, I apply_actions,"
                       " Q write_setfields, Q apply_setfields, Q metadata_match, Q metadata_write, I instructions,"
                       " I config, I max_entries, I active_count, Q lookup_count, Q matched_count")
TABLE_STATS = {OF10: TABLE_STATS10, OF11: TABLE_STATS11, OF12: TABLE_STATS12, OF13: ofp.TABLE_STATS, OF14: ofp.TABLE_STATS,
               OF15: ofp.TABLE_STATS}

# -- features (1.3.5: 7.3.5.5; 1.5.1: 7.3.5.18)
TABLE_FEATURES14 = Layout("TableFeatures14", "H length, B table_id, 5x, 32z name, Q metadata_match, Q metadata_write,"
                          " I capabilities, I max_entries", properties=Many(ofp.TABLE_PROPERTY))
TABLE_FEATURES15 = Layout("TableFeatures15", "H length, B table_id, B command, I features, 32z name, Q metadata_match,"
                          " Q metadata_write, I capabilities, I max_entries", properties=Many(ofp.TABLE_PROPERTY))
TABLE_FEATURES = {OF13: ofp.TABLE_FEATURES, OF14: TABLE_FEATURES14, OF15: TABLE_FEATURES15}
TABLE_FEATURES_REQUEST = {version: Layout(f"TableFeaturesRequest{version:d}", tables=Many(layout))
                          for version, layout in TABLE_FEATURES.items()}

# -- table-mod (1.4.1: 7.3.4.2), table-desc (7.3.5.15), table-status (7.4.5)
EVICTION = Layout("TableEviction", "H type=2, H length, I flags", fault=bad_property_length)
VACANCY = Layout("TableVacancy", "H type=3, H length, B vacancy_down, B vacancy_up, B vacancy, x", fault=bad_property_length)
_PROPERTIES = Properties({2: EVICTION, 3: VACANCY})
TABLE_MOD14 = Layout("TableMod14", "B table_id, 3x, I config", properties=_PROPERTIES)
TABLE_MOD = {OF11: ofp.TABLE_MOD, OF12: ofp.TABLE_MOD, OF13: ofp.TABLE_MOD, OF14: TABLE_MOD14, OF15: TABLE_MOD14}
TABLE_DESC = Layout("TableDesc", "H length, B table_id, x, I config", properties=_PROPERTIES)
TABLE_STATUS = Layout("TableStatus", "B reason, 7x", table=One(TABLE_DESC))

# What 1.0 to 1.2 say of tables in bitmaps. All tables are alike.
_WILDCARDS10 = (1 << 22) - 1
_WILDCARDS11 = (1 << 10) - 1
_FIELDS12 = (1 << 36) - 1           # OFPXMT_OFB_IN_PORT to MPLS_TC
_SETTABLE12 = _FIELDS12 & ~0b111    # not IN_PORT, IN_PHY_PORT, METADATA
_INSTRUCTIONS11 = 0b111110          # goto-table, write-metadata, write-, apply-, clear-actions
_ACTIONS11 = (1 << 25) - 1          # OUTPUT to DEC_NW_TTL
_ACTIONS12 = 1 | 1 << 11 | 1 << 12 | 0b1_1111_1111_11 << 15     # OUTPUT, COPY_TTL_*, SET_MPLS_TTL to SET_FIELD
_ALL_BITS = 0xffffffffffffffff


def table_stats(version: int, row: tuple[int, int, int, int], max_entries: int, miss: int = 0) -> Any:
    """The version's ofp_table_stats of (table, rules, lookups, matches); `miss` is OFPTC_TABLE_MISS_* of 1.1 and 1.2."""
    counted = dict(zip(("table_id", "active_count", "lookup_count", "matched_count"), row))
    if version >= OF13:
        return ofp.TABLE_STATS(**counted)
    named = {"name": f"table{row[0]}", "max_entries": max_entries, **counted}
    if version == OF10:
        return TABLE_STATS10(wildcards=_WILDCARDS10, **named)
    if version == OF11:
        return TABLE_STATS11(config=miss, wildcards=_WILDCARDS11, match=_WILDCARDS11, instructions=_INSTRUCTIONS11,
                             write_actions=_ACTIONS11, apply_actions=_ACTIONS11, **named)
    return TABLE_STATS12(config=miss, match=_FIELDS12, wildcards=_FIELDS12, write_actions=_ACTIONS12, apply_actions=_ACTIONS12,
                         write_setfields=_SETTABLE12, apply_setfields=_SETTABLE12, metadata_match=_ALL_BITS,
                         metadata_write=_ALL_BITS, instructions=_INSTRUCTIONS11, **named)
