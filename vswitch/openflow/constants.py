"""The numbers that the switch's side uses, named as the specifications name them: those of OpenFlow 1.3.5 and what 1.4 and
1.5.1 added. Errors have 1.5's numbers everywhere inside the switch (error_map.py tells each version's)."""
from __future__ import annotations

from enum import IntEnum, IntFlag

VERSION = 0x04              # OpenFlow 1.3: the form of bodies that the switch keeps
HEADER_LEN = 8
MESSAGE_MAX = 0xffff

OFP_NO_BUFFER = 0xffffffff
OFPP_MAX = 0xffffff00
OFPP_IN_PORT = 0xfffffff8
OFPP_TABLE = 0xfffffff9
OFPP_NORMAL = 0xfffffffa
OFPP_FLOOD = 0xfffffffb
OFPP_ALL = 0xfffffffc
OFPP_CONTROLLER = 0xfffffffd
OFPP_LOCAL = 0xfffffffe
OFPP_ANY = 0xffffffff
OFPG_ALL = 0xfffffffc
OFPG_ANY = 0xffffffff
OFPM_ALL = 0xffffffff
OFPTT_MAX = 0xfe
OFPTT_ALL = 0xff
OFPQ_ALL = 0xffffffff
OFPCML_NO_BUFFER = 0xffff
N_TABLES = 254


class Type(IntEnum):
    """ofp_type (7.1)."""
    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    FEATURES_REQUEST = 5
    FEATURES_REPLY = 6
    GET_CONFIG_REQUEST = 7
    GET_CONFIG_REPLY = 8
    SET_CONFIG = 9
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    PACKET_OUT = 13
    FLOW_MOD = 14
    GROUP_MOD = 15
    PORT_MOD = 16
    TABLE_MOD = 17
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    QUEUE_GET_CONFIG_REQUEST = 22
    QUEUE_GET_CONFIG_REPLY = 23
    ROLE_REQUEST = 24
    ROLE_REPLY = 25
    GET_ASYNC_REQUEST = 26
    GET_ASYNC_REPLY = 27
    SET_ASYNC = 28
    METER_MOD = 29
    ROLE_STATUS = 30
    TABLE_STATUS = 31
    REQUESTFORWARD = 32
    BUNDLE_CONTROL = 33
    BUNDLE_ADD_MESSAGE = 34
    CONTROLLER_STATUS = 35


class Multipart(IntEnum):
    """ofp_multipart_type (7.3.5)."""
    DESC = 0
    FLOW = 1
    AGGREGATE = 2
    TABLE = 3
    PORT_STATS = 4
    QUEUE = 5
    GROUP = 6
    GROUP_DESC = 7
    GROUP_FEATURES = 8
    METER = 9
    METER_CONFIG = 10
    METER_FEATURES = 11
    TABLE_FEATURES = 12
    PORT_DESC = 13
    TABLE_DESC = 14
    QUEUE_DESC = 15
    FLOW_MONITOR = 16
    FLOW_STATS = 17
    CONTROLLER_STATUS = 18
    BUNDLE_FEATURES = 19
    EXPERIMENTER = 0xffff


OFPMPF_MORE = 1             # OFPMPF_REQ_MORE and OFPMPF_REPLY_MORE


class Capability(IntFlag):
    """ofp_capabilities (7.3.1)."""
    FLOW_STATS = 1
    TABLE_STATS = 2
    PORT_STATS = 4
    GROUP_STATS = 8
    IP_REASM = 32
    QUEUE_STATS = 64
    PORT_BLOCKED = 256
    BUNDLES = 512
    FLOW_MONITORING = 1024


class FlowModCommand(IntEnum):
    ADD = 0
    MODIFY = 1
    MODIFY_STRICT = 2
    DELETE = 3
    DELETE_STRICT = 4


class FlowFlag(IntFlag):
    SEND_FLOW_REM = 1
    CHECK_OVERLAP = 2
    RESET_COUNTS = 4
    NO_PKT_COUNTS = 8
    NO_BYT_COUNTS = 16


class Role(IntEnum):
    NOCHANGE = 0
    EQUAL = 1
    MASTER = 2
    SLAVE = 3


class PacketInReason(IntEnum):
    NO_MATCH = 0
    ACTION = 1
    INVALID_TTL = 2
    ACTION_SET = 3
    GROUP = 4
    PACKET_OUT = 5


class FlowRemovedReason(IntEnum):
    IDLE_TIMEOUT = 0
    HARD_TIMEOUT = 1
    DELETE = 2
    GROUP_DELETE = 3
    METER_DELETE = 4
    EVICTION = 5


class ErrorType(IntEnum):
    """ofp_error_type (7.4.4)."""
    HELLO_FAILED = 0
    BAD_REQUEST = 1
    BAD_ACTION = 2
    BAD_INSTRUCTION = 3
    BAD_MATCH = 4
    FLOW_MOD_FAILED = 5
    GROUP_MOD_FAILED = 6
    PORT_MOD_FAILED = 7
    TABLE_MOD_FAILED = 8
    QUEUE_OP_FAILED = 9
    SWITCH_CONFIG_FAILED = 10
    ROLE_REQUEST_FAILED = 11
    METER_MOD_FAILED = 12
    TABLE_FEATURES_FAILED = 13
    BAD_PROPERTY = 14
    ASYNC_CONFIG_FAILED = 15
    FLOW_MONITOR_FAILED = 16
    BUNDLE_FAILED = 17
    EXPERIMENTER = 0xffff


class HelloFailed(IntEnum):
    INCOMPATIBLE = 0
    EPERM = 1


class BadRequest(IntEnum):
    BAD_VERSION = 0
    BAD_TYPE = 1
    BAD_MULTIPART = 2
    BAD_EXPERIMENTER = 3
    BAD_EXP_TYPE = 4
    EPERM = 5
    BAD_LEN = 6
    BUFFER_EMPTY = 7
    BUFFER_UNKNOWN = 8
    BAD_TABLE_ID = 9
    IS_SLAVE = 10
    BAD_PORT = 11
    BAD_PACKET = 12
    MULTIPART_BUFFER_OVERFLOW = 13
    MULTIPART_REQUEST_TIMEOUT = 14
    MULTIPART_REPLY_TIMEOUT = 15
    MULTIPART_BAD_SCHED = 16
    PIPELINE_FIELDS_ONLY = 17
    UNKNOWN = 18


class BadAction(IntEnum):
    BAD_TYPE = 0
    BAD_LEN = 1
    BAD_EXPERIMENTER = 2
    BAD_EXP_TYPE = 3
    BAD_OUT_PORT = 4
    BAD_ARGUMENT = 5
    EPERM = 6
    TOO_MANY = 7
    BAD_QUEUE = 8
    BAD_OUT_GROUP = 9
    MATCH_INCONSISTENT = 10
    UNSUPPORTED_ORDER = 11
    BAD_TAG = 12
    BAD_SET_TYPE = 13
    BAD_SET_LEN = 14
    BAD_SET_ARGUMENT = 15
    BAD_SET_MASK = 16
    BAD_METER = 17


class BadInstruction(IntEnum):
    UNKNOWN_INST = 0
    UNSUP_INST = 1
    BAD_TABLE_ID = 2
    UNSUP_METADATA = 3
    UNSUP_METADATA_MASK = 4
    BAD_EXPERIMENTER = 5
    BAD_EXP_TYPE = 6
    BAD_LEN = 7
    EPERM = 8
    DUP_INST = 9


class BadMatch(IntEnum):
    BAD_TYPE = 0
    BAD_LEN = 1
    BAD_TAG = 2
    BAD_DL_ADDR_MASK = 3
    BAD_NW_ADDR_MASK = 4
    BAD_WILDCARDS = 5
    BAD_FIELD = 6
    BAD_VALUE = 7
    BAD_MASK = 8
    BAD_PREREQ = 9
    DUP_FIELD = 10
    EPERM = 11


class FlowModFailed(IntEnum):
    UNKNOWN = 0
    TABLE_FULL = 1
    BAD_TABLE_ID = 2
    OVERLAP = 3
    EPERM = 4
    BAD_TIMEOUT = 5
    BAD_COMMAND = 6
    BAD_FLAGS = 7
    CANT_SYNC = 8
    BAD_PRIORITY = 9
    IS_SYNC = 10


class GroupModFailed(IntEnum):
    GROUP_EXISTS = 0
    INVALID_GROUP = 1
    WEIGHT_UNSUPPORTED = 2
    OUT_OF_GROUPS = 3
    OUT_OF_BUCKETS = 4
    CHAINING_UNSUPPORTED = 5
    WATCH_UNSUPPORTED = 6
    LOOP = 7
    UNKNOWN_GROUP = 8
    CHAINED_GROUP = 9
    BAD_TYPE = 10
    BAD_COMMAND = 11
    BAD_BUCKET = 12
    BAD_WATCH = 13
    EPERM = 14
    UNKNOWN_BUCKET = 15
    BUCKET_EXISTS = 16


class PortModFailed(IntEnum):
    BAD_PORT = 0
    BAD_HW_ADDR = 1
    BAD_CONFIG = 2
    BAD_ADVERTISE = 3
    EPERM = 4


class TableModFailed(IntEnum):
    BAD_TABLE = 0
    BAD_CONFIG = 1
    EPERM = 2


class QueueOpFailed(IntEnum):
    BAD_PORT = 0
    BAD_QUEUE = 1
    EPERM = 2


class SwitchConfigFailed(IntEnum):
    BAD_FLAGS = 0
    BAD_LEN = 1
    EPERM = 2


class RoleRequestFailed(IntEnum):
    STALE = 0
    UNSUP = 1
    BAD_ROLE = 2
    ID_UNSUP = 3
    ID_IN_USE = 4


class MeterModFailed(IntEnum):
    UNKNOWN = 0
    METER_EXISTS = 1
    INVALID_METER = 2
    UNKNOWN_METER = 3
    BAD_COMMAND = 4
    BAD_FLAGS = 5
    BAD_RATE = 6
    BAD_BURST = 7
    BAD_BAND = 8
    BAD_BAND_VALUE = 9
    OUT_OF_METERS = 10
    OUT_OF_BANDS = 11


class TableFeaturesFailed(IntEnum):
    """1.3 has its property errors here, as 2 to 4; inside the switch they are BAD_PROPERTY's."""
    BAD_TABLE = 0
    BAD_METADATA = 1
    EPERM = 5
    BAD_CAPABILITY = 6
    BAD_MAX_ENTRIES = 7
    BAD_FEATURES = 8
    BAD_COMMAND = 9
    TOO_MANY = 10


class BadProperty(IntEnum):
    BAD_TYPE = 0
    BAD_LEN = 1
    BAD_VALUE = 2
    TOO_MANY = 3
    DUP_TYPE = 4
    BAD_EXPERIMENTER = 5
    BAD_EXP_TYPE = 6
    BAD_EXP_VALUE = 7
    EPERM = 8


class AsyncConfigFailed(IntEnum):
    INVALID = 0
    UNSUPPORTED = 1
    EPERM = 2


class FlowMonitorFailed(IntEnum):
    UNKNOWN = 0
    MONITOR_EXISTS = 1
    INVALID_MONITOR = 2
    UNKNOWN_MONITOR = 3
    BAD_COMMAND = 4
    BAD_FLAGS = 5
    BAD_TABLE_ID = 6
    BAD_OUT = 7


class BundleFailed(IntEnum):
    UNKNOWN = 0
    EPERM = 1
    BAD_ID = 2
    BUNDLE_EXIST = 3
    BUNDLE_CLOSED = 4
    OUT_OF_BUNDLES = 5
    BAD_TYPE = 6
    BAD_FLAGS = 7
    MSG_BAD_LEN = 8
    MSG_BAD_XID = 9
    MSG_UNSUP = 10
    MSG_CONFLICT = 11
    MSG_TOO_MANY = 12
    MSG_FAILED = 13
    TIMEOUT = 14
    BUNDLE_IN_PROGRESS = 15
    SCHED_NOT_SUPPORTED = 16
    SCHED_FUTURE = 17
    SCHED_PAST = 18
