"""What an adversary learns, as runnable code.

One file per attack. Each attack must succeed on its own control, an unprotected answer,
and is compared with chance level if there is one: the failure of an attack that has
never worked proves nothing. The adversary is the client (it owns the key, follows the
protocol unless a file says otherwise, and keeps everything it sees), or anyone who is
shown a map.

    division              weights from the second part of an answer
    unused_coefficients   weights from coefficients that carry no result
    query_noise           weights from the noise of decrypted results
    weight_packing        several integer weights from each result
    extraction            a classifier from its answers
    chosen_shares         differences of logits from labels, by moved shares
    row_division          rows from the second part of a cross-covariance
    row_projection        rows from the cross-covariance itself
    row_packing           several rows from each number of a cross-covariance
    row_lattice           rows from honest source rows, by lattice reduction
    membership            whether a row was among those a map was fitted on
    private_membership    the same for maps with differential privacy
    sum_difference        one silo's moments from the totals of two sums
    crafted_key           the secret of a mask, by a client that breaks the protocol
    crafted_fit_key       the secret of a fit's masks, likewise
    lattice_cost          what finding a secret key would cost

`raw_answers` is the unprotected provider, `modular` the linear algebra, `chance` the
intervals; files that end in `_findings` run attacks on a `setting` and tabulate them.
"""
