"""What an adversary learns, as runnable code.

One file per attack. Each attack must succeed on its own control, an unprotected answer,
and is compared with chance level if there is one: the failure of an attack that has
never worked proves nothing. The adversary is the client (it owns the key, follows the
protocol unless a file says otherwise, and keeps everything it sees), or anyone who is
shown a map.

    division              weights from the second part of an answer
    unused_coefficients   weights from coefficients that carry no result
    query_noise           weights from the noise of decrypted results
    extraction            a classifier from its answers
    row_division          rows from the second part of a cross-covariance
    row_projection        rows from the cross-covariance itself
    membership            whether a row was among those a map was fitted on
    crafted_key           the secret of a mask, by a client that breaks the protocol

`raw_answers` is the unprotected provider, `modular` the linear algebra, `chance` the
intervals; files that end in `_findings` run attacks on a `setting` and tabulate them.
"""
