/* The records between the server's loop (node_listener, http) and its worker (training, serving). `about` is the number
 * of a connection for the first group, of a request for the second; numbers are never used again. Connections that are
 * open at the same time have different numbers modulo MAIL_CONNECTIONS. */
#ifndef FEWBIT_DECODER_SERVER_CORE_MAIL_H
#define FEWBIT_DECODER_SERVER_CORE_MAIL_H

enum { MAIL_CONNECTIONS = 1024 };

enum {
    /* loop -> worker */
    MAIL_FRAME = 1,    /* a whole frame */
    MAIL_METER,        /* struct traffic_counters of a connection, asked for */
    MAIL_DOWN,         /* a connection is gone; its last struct traffic_counters */
    MAIL_CLASSIFY,     /* the elements of one whole sample, u8 */
    MAIL_ASK_REPORT,   /* MAIL_REPORT follows */
    MAIL_EVENTS_TAKEN, /* the last MAIL_EVENTS was dealt with */
    MAIL_PORTIONS,     /* u64, before a connection's first frame: the portions it may speak for, bit K for K */
    MAIL_CHANGE,       /* struct model *: change to it; MAIL_CHANGED follows */
    MAIL_STOP,         /* take nothing new; MAIL_DRAINED follows once nothing waits */
    MAIL_FINISH,       /* answer what still waits with what is there */
    /* worker -> loop */
    MAIL_SEND = 32, /* a whole frame */
    MAIL_ADMIT,     /* u32 heartbeat ms: the connection has said a good Hello */
    MAIL_CLOSE,     /* reason, text with its zero */
    MAIL_ASK_METER,
    MAIL_PAUSE, /* stop reading from a connection */
    MAIL_RESUME,
    MAIL_ANSWER,   /* struct classification */
    MAIL_READY,    /* `about` is how many nodes are ready */
    MAIL_REPORT,   /* struct stats */
    MAIL_EVENTS,   /* text of server-sent events; `about` is how many were dropped before them */
    MAIL_GREETING, /* text of one event that every new listener gets first, too */
    MAIL_CHANGED,  /* text with its zero; `about` is the err */
    MAIL_DRAINED,  /* after MAIL_STOP: everything has been answered, the nodes are sent away */
    MAIL_END,      /* nothing more will come */
};

#endif
