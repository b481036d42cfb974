"""Workers of a fleet: they follow the topics of Kafka through Faust, and keep the views that their groups are made of.

Faust does what it is good at: it keeps a worker in its consumer group, gives it partitions and takes them away, reads
ahead of the agent and not too far, and starts and stops all of that in order. It keeps no state: which events are in a
view is said by the checkpoints, in the transaction of the rows.
"""
