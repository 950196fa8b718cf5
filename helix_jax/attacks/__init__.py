"""What an adversary learns, as runnable code.

One file an attack. Each succeeds on its own control, an answer without protection, and
is judged against chance where there is one: an attack that has never worked says
nothing by failing. The adversary is the client (it owns the key, follows the protocol
unless a file says otherwise, and keeps everything it sees), or whoever is shown a map.

    division              weights from the second part of an answer
    unused_coefficients   weights from coefficients that carry no result
    query_noise           weights from the noise of decrypted results
    extraction            a classifier from its answers
    row_division          rows from the second part of a cross-covariance
    row_projection        rows from the cross-covariance itself
    membership            whether a row was among those a map was fitted on
    crafted_key           the secret of a mask, by a client that does not follow

`raw_answers` is the provider without protection, `modular` the linear algebra, `chance`
the intervals; files in `_findings` run an attack on a `setting` and tabulate.
"""
